#include "host.h"
#include <errno.h>
#include <time.h>

uint64_t now_ns(void) {
   struct timespec time;
   clock_gettime(CLOCK_MONOTONIC, &time);
   return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

// A table with an address of its own, so that what is called beyond the size that it states ends the process.
static void never(void) {
   fault("it called a function that lies beyond the size that the host's table states; look at `size` first");
}

static slot_t *find(host_t *host, knap_call_t call) {
   if (!call) return NULL;
   slot_t *slot = &host->slots[call % CALLS_MOST];
   return slot->handle == call ? slot : NULL;
}

bool is_utf8(const char *text, uint64_t size) {
   for (uint64_t at = 0; at < size;) {
      unsigned char c = (unsigned char)text[at];
      unsigned      more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 4;
      if (more == 4 || size - at <= more) return false;
      for (unsigned i = 1; i <= more; i++)
         if (((unsigned char)text[at + i] & 0xC0) != 0x80) return false;
      at += more + 1;
   }
   return true;
}

static char *copied(const void *data, uint64_t size) {
   char *copy = malloc(size + 1);
   if (!copy) abort();
   if (size) memcpy(copy, data, size);
   copy[size] = 0;
   return copy;
}

// ## Calls

// Under the lock: the plugin's table for a callback, which `leave` ends; null where it hears of nothing any more.
static const knap_callee_t *enter(slot_t *slot, void **context) {
   if (!slot || !slot->callee || slot->has_ended) return NULL;
   slot->callbacks++;
   *context = slot->context;
   return slot->callee;
}

// `closed` is the last callback: it follows those that still run, and the plugin's own completion.
static void close_when_over(host_t *host, slot_t *slot) {
   if (!slot->callee || !slot->has_ended || slot->callbacks || slot->is_closing) return;
   slot->is_closing = true;
   const knap_callee_t *callee = slot->callee;
   pthread_mutex_unlock(&host->lock);
   callee->closed(slot->context);
   pthread_mutex_lock(&host->lock);
   slot->callee = NULL;
   pthread_cond_broadcast(&host->changed);
}

static void leave(host_t *host, slot_t *slot) {
   pthread_mutex_lock(&host->lock);
   slot->callbacks--;
   close_when_over(host, slot);
   pthread_mutex_unlock(&host->lock);
}

static knap_status_t complete(const knap_host_t *table, knap_call_t call, const knap_result_t *result) {
   host_t *host = of(table);
   if (result && result->size < offsetof(knap_result_t, content_type)) {
      fault("a result states the size %u; set it to sizeof(knap_result_t)", result->size);
      return KNAP_INVALID_ARGUMENT;
   }
   if (result && (result->status < 0 || result->status > KNAP_UNAUTHENTICATED))
      fault("a call was ended with the status %d, which is none of status.h", result->status);
   if (result && result->body.size && !result->body.data) fault("an answer of %lu bytes has no data", (unsigned long)result->body.size);
   if (result && result->size >= sizeof *result && !is_utf8(result->message.data, result->message.size))
      fault("the message of a failure is not UTF-8");
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   if (!slot || slot->has_ended) {
      char name[192];
      snprintf(name, sizeof name, "%s", slot ? slot->name : "a call that is not in flight");
      pthread_mutex_unlock(&host->lock);
      fault("%s was completed %s", name, slot ? "twice" : "");
      return KNAP_FAILED_PRECONDITION;
   }
   slot->has_ended = true;
   slot->answer.status = result ? result->status : KNAP_OK;
   slot->answer.size = result ? result->body.size : 0;
   slot->answer.body = copied(result ? (const void *)result->body.data : NULL, slot->answer.size);
   bool hasMessage = result && result->size >= sizeof *result;
   slot->answer.message = copied(hasMessage ? result->message.data : NULL, hasMessage ? result->message.size : 0);
   bool isLate = slot->is_given_up;
   close_when_over(host, slot);
   pthread_cond_broadcast(&host->changed);
   pthread_mutex_unlock(&host->lock);
   return isLate ? KNAP_CANCELLED : KNAP_OK;
}

static knap_status_t listen_to(const knap_host_t *table, knap_call_t call, const knap_callee_t *callee, void *context) {
   host_t *host = of(table);
   if (!callee || callee->size < sizeof *callee || !callee->item || !callee->half_close || !callee->credit || !callee->cancel ||
       !callee->closed) {
      fault("listen was given a table with a function missing, or a wrong size");
      return KNAP_INVALID_ARGUMENT;
   }
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   bool    isOpen = slot && !slot->has_ended && !slot->callee;
   if (isOpen) slot->callee = callee, slot->context = context;
   void                *ignored;
   const knap_callee_t *told = isOpen && slot->is_given_up ? enter(slot, &ignored) : NULL;
   pthread_mutex_unlock(&host->lock);
   if (!isOpen) return KNAP_FAILED_PRECONDITION;
   if (told) {
      told->cancel(context, call, KNAP_CANCELLED);
      leave(host, slot);
   }
   return KNAP_OK;
}

static knap_status_t send_item(const knap_host_t *table, knap_call_t call, const knap_item_t *item) {
   host_t *host = of(table);
   if (!item || item->size < sizeof *item || item->kind < KNAP_ITEM_DATA || item->kind > KNAP_ITEM_REPLY ||
       (item->body.size && !item->body.data)) {
      fault("an item was sent with a wrong size or kind, or without its bytes");
      return KNAP_INVALID_ARGUMENT;
   }
   bool needsCredit = item->kind != KNAP_ITEM_PROGRESS && item->kind != KNAP_ITEM_LOG;
   pthread_mutex_lock(&host->lock);
   slot_t       *slot = find(host, call);
   knap_status_t status = KNAP_OK;
   bool          isFlooding = false;
   if (!slot || slot->has_ended || slot->is_given_up) {
      status = KNAP_CANCELLED;
   } else if (needsCredit && !slot->credit) {
      slot->was_refused = true;
      isFlooding = ++slot->refusals == 10000;
      status = KNAP_RESOURCE_EXHAUSTED;
   } else {
      slot->credit -= needsCredit;
      slot->items++;
   }
   pthread_mutex_unlock(&host->lock);
   if (isFlooding) fault("it went on sending 10,000 times without credit; wait for the callback `credit`");
   return status;
}

static knap_status_t half_close(const knap_host_t *table, knap_call_t call) {
   (void)table, (void)call;
   return KNAP_FAILED_PRECONDITION; // of a call that it serves: a callee completes instead
}

static knap_status_t grant(const knap_host_t *table, knap_call_t call, uint32_t items) {
   host_t *host = of(table);
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   if (slot) slot->granted += items;
   pthread_cond_broadcast(&host->changed);
   pthread_mutex_unlock(&host->lock);
   return slot ? KNAP_OK : KNAP_FAILED_PRECONDITION;
}

static knap_status_t cancel_call(const knap_host_t *table, knap_call_t call) {
   (void)table, (void)call;
   return KNAP_FAILED_PRECONDITION; // calls that it makes end at once
}

static knap_status_t info(const knap_host_t *table, knap_call_t call, knap_call_info_t *out) {
   host_t *host = of(table);
   if (!out || out->size < offsetof(knap_call_info_t, principal)) {
      fault("info was asked for with a wrong size");
      return KNAP_INVALID_ARGUMENT;
   }
   uint32_t         size = out->size < sizeof *out ? out->size : sizeof *out;
   knap_call_info_t all = {.size = size};
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   if (slot) {
      all.flags = (slot->is_given_up ? KNAP_CALL_CANCELLED : 0u) | (slot->is_input_open ? KNAP_CALL_INPUT_OPEN : 0u);
      all.deadline_ns = slot->deadline_ns;
      all.method = (knap_text_t){slot->name, strlen(slot->name)};
   }
   pthread_mutex_unlock(&host->lock);
   if (slot) memcpy(out, &all, size);
   return slot ? KNAP_OK : KNAP_FAILED_PRECONDITION;
}

static knap_status_t wait_for_call(const knap_host_t *table, knap_call_t call) {
   (void)table, (void)call;
   return KNAP_OK; // calls that it makes have ended before `call` returned
}

knap_call_t host_begin(host_t *host, const char *name, uint64_t deadline_ns) {
   pthread_mutex_lock(&host->lock);
   slot_t *slot;
   do slot = &host->slots[++host->serial % CALLS_MOST];
   while (slot->handle);
   memset(slot, 0, sizeof *slot);
   // No small number, so that a handle cannot pass for an index.
   slot->handle = host->serial % CALLS_MOST + CALLS_MOST * (host->serial + 0x10000);
   slot->deadline_ns = deadline_ns;
   slot->is_input_open = true;
   snprintf(slot->name, sizeof slot->name, "%s", name);
   knap_call_t handle = slot->handle;
   pthread_mutex_unlock(&host->lock);
   return handle;
}

void host_wait(host_t *host, knap_call_t call, uint64_t limit_ns, answer_t *answer) {
   struct timespec end;
   clock_gettime(CLOCK_REALTIME, &end);
   end.tv_sec += (time_t)(limit_ns / SECOND);
   if ((end.tv_nsec += (long)(limit_ns % SECOND)) >= (long)SECOND) end.tv_sec++, end.tv_nsec -= (long)SECOND;
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   while (slot && (!slot->has_ended || slot->callee) && pthread_cond_timedwait(&host->changed, &host->lock, &end) != ETIMEDOUT) {}
   bool hasEnded = slot && slot->has_ended && !slot->callee;
   char name[192] = "";
   if (slot) snprintf(name, sizeof name, "%s", slot->name);
   if (hasEnded) {
      *answer = slot->answer;
      slot->handle = 0;
   }
   pthread_mutex_unlock(&host->lock);
   if (!hasEnded) {
      fault("%s was not completed within %.1f s", name, (double)limit_ns / (double)SECOND);
      end_test(); // what follows would only wait again
   }
}

bool host_ended(host_t *host, knap_call_t call) {
   pthread_mutex_lock(&host->lock);
   slot_t *slot = find(host, call);
   bool    hasEnded = !slot || slot->has_ended;
   pthread_mutex_unlock(&host->lock);
   return hasEnded;
}

void host_cancel(host_t *host, knap_call_t call, knap_status_t reason) {
   pthread_mutex_lock(&host->lock);
   slot_t              *slot = find(host, call);
   void                *context;
   const knap_callee_t *callee = slot && !slot->is_given_up ? enter(slot, &context) : NULL;
   if (slot) slot->is_given_up = true;
   pthread_mutex_unlock(&host->lock);
   if (!callee) return;
   callee->cancel(context, call, reason);
   leave(host, slot);
}

bool host_send(host_t *host, knap_call_t call, knap_bytes_t body) {
   pthread_mutex_lock(&host->lock);
   slot_t              *slot = find(host, call);
   void                *context;
   const knap_callee_t *callee = slot && slot->granted ? enter(slot, &context) : NULL;
   if (callee) slot->granted--;
   pthread_mutex_unlock(&host->lock);
   if (!callee) return false;
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = body};
   callee->item(context, call, &item);
   leave(host, slot);
   return true;
}

void host_half_close(host_t *host, knap_call_t call) {
   pthread_mutex_lock(&host->lock);
   slot_t              *slot = find(host, call);
   void                *context;
   const knap_callee_t *callee = slot && slot->is_input_open ? enter(slot, &context) : NULL;
   if (slot) slot->is_input_open = false;
   pthread_mutex_unlock(&host->lock);
   if (!callee) return;
   callee->half_close(context, call);
   leave(host, slot);
}

void host_grant(host_t *host, knap_call_t call, uint32_t items) {
   pthread_mutex_lock(&host->lock);
   slot_t              *slot = find(host, call);
   void                *context;
   const knap_callee_t *callee = slot && slot->was_refused ? enter(slot, &context) : NULL;
   if (slot) slot->credit += items;
   if (slot) slot->was_refused = false;
   pthread_mutex_unlock(&host->lock);
   if (!callee) return;
   callee->credit(context, call);
   leave(host, slot);
}

uint64_t host_items(host_t *host, knap_call_t call) {
   pthread_mutex_lock(&host->lock);
   slot_t  *slot = find(host, call);
   uint64_t items = slot ? slot->items : 0;
   pthread_mutex_unlock(&host->lock);
   return items;
}

void answer_free(answer_t *answer) {
   free(answer->body);
   free(answer->message);
   memset(answer, 0, sizeof *answer);
}

// ## Making and ending

host_t *host_make(shape_t shape) {
   host_t *host = calloc(1, sizeof *host);
   if (!host || !(host->slots = calloc(CALLS_MOST, sizeof *host->slots))) abort();
   host->shape = shape;
   pthread_mutex_init(&host->lock, NULL);
   pthread_cond_init(&host->changed, NULL);
   host->calls.calls = (knap_calls_t){
      sizeof(knap_calls_t), 0, complete, listen_to, send_item, half_close, grant, cancel_call, info, wait_for_call,
   };
   host->buffers = buffers_table;
   host->room.host = (knap_host_t){sizeof(knap_host_t), 0, &host->calls.calls, &host->buffers, extension};
   if (shape == SHAPE_LARGER) {
      host->room.host.size = sizeof host->room;
      host->calls.calls.size = sizeof host->calls;
      for (int i = 0; i < 4; i++) host->room.later[i] = host->calls.later[i] = (void *)never;
   }
   if (shape == SHAPE_SMALLER) {
      host->calls.calls.size = offsetof(knap_calls_t, wait);
      host->calls.calls.wait = (knap_status_t(*)(const knap_host_t *, knap_call_t))(void *)never;
   }
   if (pthread_create(&host->clock, NULL, keep_time, host)) abort();
   return host;
}

void host_destroy(host_t *host) {
   pthread_mutex_lock(&host->lock);
   host->is_closing = true;
   pthread_cond_broadcast(&host->changed);
   pthread_mutex_unlock(&host->lock);
   pthread_join(host->clock, NULL);
   unsigned long buffers = 0;
   while (host->live) {
      knap_buffer_t *buffer = host->live;
      host->live = buffer->next;
      free(buffer);
      buffers++;
   }
   for (uint32_t i = 0; i < CALLS_MOST; i++)
      if (host->slots[i].handle && !host->slots[i].has_ended) fault("%s was never completed", host->slots[i].name);
      else if (host->slots[i].handle) answer_free(&host->slots[i].answer);
   if (buffers) fault("%lu buffer%s of the host were not given back", buffers, buffers == 1 ? "" : "s");
   pthread_mutex_destroy(&host->lock);
   pthread_cond_destroy(&host->changed);
   free(host->slots);
   free(host);
}

const knap_host_t *host_table(host_t *host) { return &host->room.host; }
