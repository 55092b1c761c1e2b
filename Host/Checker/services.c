// Buffers, and the extensions that the watching host offers.
#include "host.h"
#include <knap/ext/config.h>
#include <knap/ext/log.h>
#include <knap/ext/services.h>
#include <knap/ext/state-directory.h>
#include <knap/ext/timers.h>
#include <time.h>

// ## Buffers

static knap_buffer_t *create_buffer(const knap_host_t *table, uint64_t size, uint8_t **data) {
   host_t        *host = of(table);
   knap_buffer_t *buffer = malloc(sizeof *buffer + (size ? size : 1));
   if (!buffer) return NULL;
   *buffer = (knap_buffer_t){.host = host, .size = size, .references = 1};
   pthread_mutex_lock(&host->lock);
   if ((buffer->next = host->live)) host->live->previous = buffer;
   host->live = buffer;
   pthread_mutex_unlock(&host->lock);
   *data = buffer->data;
   return buffer;
}

static knap_buffer_t *keep_buffer(const knap_host_t *table, knap_bytes_t bytes, knap_buffer_t *holder, knap_bytes_t *kept) {
   (void)holder; // always a copy: who kept the wrong bytes reads freed memory
   uint8_t       *data;
   knap_buffer_t *buffer = create_buffer(table, bytes.size, &data);
   if (!buffer) return NULL;
   if (bytes.size) memcpy(data, bytes.data, bytes.size);
   if (kept) *kept = (knap_bytes_t){data, bytes.size};
   return buffer;
}

static void release_buffer(const knap_host_t *table, knap_buffer_t *buffer) {
   host_t *host = of(table);
   bool    isLive = false;
   pthread_mutex_lock(&host->lock);
   for (knap_buffer_t *each = host->live; each && !isLive; each = each->next) isLive = each == buffer;
   bool isLast = isLive && --buffer->references == 0;
   if (isLast) {
      if (buffer->previous) buffer->previous->next = buffer->next;
      else host->live = buffer->next;
      if (buffer->next) buffer->next->previous = buffer->previous;
   }
   pthread_mutex_unlock(&host->lock);
   if (isLast) free(buffer);
   if (!isLive) fault("a buffer was given back that is not held, or was given back before");
}

const knap_buffers_t buffers_table = {sizeof buffers_table, 0, create_buffer, keep_buffer, release_buffer};

// ## Extensions

static int32_t log_enabled(const knap_host_t *table, int32_t level) {
   (void)table;
   if (level < KNAP_LOG_TRACE || level > KNAP_LOG_ERROR) fault("the log was asked about the level %d; they go from 0 to 4", level);
   return 1;
}

static void log_write(const knap_host_t *table, int32_t level, knap_call_t call, knap_text_t message, const knap_log_field_t *fields,
                      uint32_t count) {
   (void)call;
   log_enabled(table, level);
   if (!is_utf8(message.data, message.size)) fault("a record of the log is not UTF-8");
   for (uint32_t i = 0; i < count; i++)
      if (!is_utf8(fields[i].key.data, fields[i].key.size) || !is_utf8(fields[i].value.data, fields[i].value.size))
         fault("a field of a record of the log is not UTF-8");
}

static void write_text(const knap_writer_t *out, const char *text) {
   // In two pieces, because a writer may be called several times.
   uint64_t size = strlen(text), half = size / 2;
   out->write(out->context, (knap_bytes_t){(const uint8_t *)text, half});
   out->write(out->context, (knap_bytes_t){(const uint8_t *)text + half, size - half});
}

static knap_status_t config_read(const knap_host_t *table, const knap_writer_t *out) {
   (void)table;
   return write_text(out, subject.configuration), KNAP_OK;
}

static knap_status_t directory_path(const knap_host_t *table, const knap_writer_t *out) {
   (void)table;
   return write_text(out, subject.directory), KNAP_OK;
}

static knap_status_t bind_method(const knap_host_t *table, knap_text_t method, knap_text_t range, knap_binding_t *binding) {
   (void)table, (void)range;
   if (!is_utf8(method.data, method.size) || !memchr(method.data, '.', method.size)) fault("it bound what is no \"service.method\"");
   return *binding = 1, KNAP_OK;
}

static void unbind_method(const knap_host_t *table, knap_binding_t binding) { (void)table, (void)binding; }

// Nobody provides anything.
static knap_status_t call_method(const knap_host_t *table, knap_binding_t binding, const knap_outgoing_t *outgoing, knap_call_t *call) {
   (void)table;
   if (binding != 1 || outgoing->size < sizeof *outgoing || !outgoing->caller || outgoing->caller->size < sizeof(knap_caller_t) ||
       !outgoing->caller->complete) {
      fault("a call was made with a wrong binding, size or table of callbacks");
      return KNAP_INVALID_ARGUMENT;
   }
   static _Atomic uint64_t serial = (uint64_t)1 << 60;
   knap_call_t             made = ++serial;
   if (call) *call = made;
   static const char   text[] = "nobody provides it here";
   const knap_result_t result = {.size = sizeof result, .status = KNAP_UNAVAILABLE, .message = {text, sizeof text - 1}};
   outgoing->caller->complete(outgoing->context, made, &result);
   return KNAP_OK;
}

static knap_status_t describe(const knap_host_t *table, knap_text_t service, const knap_writer_t *out) {
   (void)table, (void)service;
   return write_text(out, "[]"), KNAP_OK;
}

static knap_status_t start_timer(
   const knap_host_t *table, uint64_t when_ns, void (*fire)(void *context), void *context, uint64_t *timer) {
   host_t *host = of(table);
   pthread_mutex_lock(&host->lock);
   waiting_t *free_one = NULL;
   for (uint32_t i = 0; i < TIMERS_MOST && !free_one; i++)
      if (!host->timers[i].number) free_one = &host->timers[i];
   uint64_t number = 0;
   if (free_one) {
      number = ++host->serial + ((uint64_t)1 << 40);
      *free_one = (waiting_t){number, when_ns, fire, context};
   }
   pthread_cond_broadcast(&host->changed);
   pthread_mutex_unlock(&host->lock);
   if (timer) *timer = number;
   return number ? KNAP_OK : KNAP_RESOURCE_EXHAUSTED;
}

static knap_status_t stop_timer(const knap_host_t *table, uint64_t timer) {
   host_t *host = of(table);
   bool    isFound = false;
   pthread_mutex_lock(&host->lock);
   for (uint32_t i = 0; i < TIMERS_MOST; i++)
      if (timer && host->timers[i].number == timer) host->timers[i].number = 0, isFound = true;
   pthread_mutex_unlock(&host->lock);
   return isFound ? KNAP_OK : KNAP_NOT_FOUND;
}

void *keep_time(void *context) {
   host_t *host = context;
   pthread_mutex_lock(&host->lock);
   while (!host->is_closing) {
      waiting_t due = {0};
      uint64_t  now = now_ns();
      for (uint32_t i = 0; i < TIMERS_MOST && !due.number; i++)
         if (host->timers[i].number && host->timers[i].when_ns <= now) {
            due = host->timers[i];
            host->timers[i].number = 0;
         }
      if (due.number) {
         pthread_mutex_unlock(&host->lock);
         due.fire(due.context);
         pthread_mutex_lock(&host->lock);
         continue;
      }
      struct timespec soon;
      clock_gettime(CLOCK_REALTIME, &soon);
      if ((soon.tv_nsec += (long)MILLISECOND) >= (long)SECOND) soon.tv_sec++, soon.tv_nsec -= (long)SECOND;
      pthread_cond_timedwait(&host->changed, &host->lock, &soon);
   }
   pthread_mutex_unlock(&host->lock);
   return NULL;
}

const void *extension(const knap_host_t *table, const char *id) {
   static const knap_host_log_t             log = {sizeof log, 0, log_enabled, log_write};
   static const knap_host_config_t          config = {sizeof config, 0, config_read};
   static const knap_host_state_directory_t directory = {sizeof directory, 0, directory_path};
   static const knap_host_services_t        services = {sizeof services, 0, bind_method, unbind_method, call_method, describe};
   static const knap_host_timers_t          timers = {sizeof timers, 0, start_timer, stop_timer};
   const struct { const char *id; const void *offered; } all[] = {
      {KNAP_EXT_LOG, &log}, {KNAP_EXT_CONFIG, &config}, {KNAP_EXT_STATE_DIRECTORY, &directory}, {KNAP_EXT_SERVICES, &services},
      {KNAP_EXT_TIMERS, &timers},
   };
   if (!id) return fault("an extension was asked for without an id"), NULL;
   if (of(table)->shape == SHAPE_BARE) return NULL;
   for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      if (!strcmp(id, all[i].id)) return all[i].offered;
   return NULL;
}
