#include "worker.h"
#include <knap/knap.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The host's extensions, as a plugin in a worker gets them: timers and buffers are the worker's own, the rest is asked of
// the host, which checks what the plugin was granted.

static void write_out(const knap_writer_t *out, const text_buffer_t *text) {
   out->write(out->context, (knap_bytes_t){text->data, text->size});
}

// ## Log

static void log_write(const knap_host_t *host, int32_t level, knap_call_t call, knap_text_t message,
                      const knap_log_field_t *fields, uint32_t count) {
   (void)host; (void)call;
   text_buffer_t body = {0};
   put_u32(&body, (uint32_t)level);
   put_text(&body, message);
   put_u32(&body, count);
   for (uint32_t i = 0; i < count; i++) put_text(&body, fields[i].key), put_text(&body, fields[i].value);
   control_tell(CONTROL_LOG, &body);
}
static int32_t log_enabled(const knap_host_t *host, int32_t level) { (void)host; return level >= KNAP_LOG_INFO; }
static const knap_host_log_t log_table = {sizeof log_table, 0, log_enabled, log_write};

// ## Configuration and state directory

static knap_status_t read_configuration(const knap_host_t *host, const knap_writer_t *out) {
   (void)host;
   out->write(out->context, (knap_bytes_t){(const uint8_t *)worker.configuration, worker.configuration_size});
   return KNAP_OK;
}
static knap_status_t state_path(const knap_host_t *host, const knap_writer_t *out) {
   (void)host;
   out->write(out->context, (knap_bytes_t){(const uint8_t *)worker.state_directory, strlen(worker.state_directory)});
   return KNAP_OK;
}
static const knap_host_config_t config_table = {sizeof config_table, 0, read_configuration};
static const knap_host_state_directory_t state_directory_table = {sizeof state_directory_table, 0, state_path};

// ## Services: a binding of the plugin's leads to a route of this process, which the link serves with the host's binding.

static knap_status_t bind(const knap_host_t *host, knap_text_t method, knap_text_t range, knap_binding_t *binding) {
   (void)host;
   text_buffer_t body = {0}, answer;
   put_text(&body, method);
   put_text(&body, range);
   knap_status_t status = control_ask(CONTROL_BIND, &body, -1, &answer, NULL);
   if (status == KNAP_OK) {
      uint64_t there = get_u64(&answer);
      char name[512];
      if (method.size >= sizeof name) return KNAP_INVALID_ARGUMENT;
      memcpy(name, method.data, method.size);
      name[method.size] = 0;
      knap_route_t *route = knap_route_named(worker.engine, name);
      knap_method_t forward = {.size = sizeof forward, .name = name, .call = knap_link_forward};
      if (route)
         knap_route_provide(worker.engine, route, &(knap_provision_t){.party = worker.host_party, .method = &forward,
                                                                      .instance = worker.link, .index = (uint32_t)there});
      *binding = route ? knap_party_bind(worker.plugin_party, route) : 0;
      if (!*binding) status = KNAP_RESOURCE_EXHAUSTED;
   }
   free(answer.data);
   return status;
}
static void unbind(const knap_host_t *host, knap_binding_t binding) {
   (void)host;
   knap_party_unbind(worker.plugin_party, binding);
}
static knap_status_t ask_for_text(uint16_t operation, knap_text_t about, const knap_writer_t *out) {
   text_buffer_t body = {0}, answer;
   put_text(&body, about);
   knap_status_t status = control_ask(operation, &body, -1, &answer, NULL);
   if (status == KNAP_OK) write_out(out, &answer);
   free(answer.data);
   return status;
}
static knap_status_t describe(const knap_host_t *host, knap_text_t service, const knap_writer_t *out) {
   (void)host;
   return ask_for_text(CONTROL_DESCRIBE, service, out);
}
static const knap_host_services_t services_table = {sizeof services_table, 0, bind, unbind, knap_engine_call, describe};

// ## Registry

typedef struct watch {
   struct watch *next;
   uint64_t id;
   const knap_registry_watch_t *watch;
   void *context;
} watch_t;
static watch_t *watches;
static uint64_t last_watch;
static pthread_mutex_t watching = PTHREAD_MUTEX_INITIALIZER; // held while `changed` runs, so that `unwatch` waits for it

static knap_status_t registry_read(const knap_host_t *host, knap_text_t point, const knap_writer_t *out) {
   (void)host;
   return ask_for_text(CONTROL_REGISTRY_READ, point, out);
}
static knap_status_t registry_watch(const knap_host_t *host, knap_text_t point, const knap_registry_watch_t *table,
                                    void *context, uint64_t *id) {
   (void)host;
   watch_t *watch = malloc(sizeof *watch);
   if (!watch) return KNAP_RESOURCE_EXHAUSTED;
   pthread_mutex_lock(&watching);
   *watch = (watch_t){watches, ++last_watch, table, context};
   watches = watch;
   *id = watch->id;
   pthread_mutex_unlock(&watching);
   text_buffer_t body = {0};
   put_text(&body, point);
   put_u64(&body, *id);
   return control_ask(CONTROL_REGISTRY_WATCH, &body, -1, NULL, NULL);
}
static void registry_unwatch(const knap_host_t *host, uint64_t id) {
   (void)host;
   pthread_mutex_lock(&watching);
   for (watch_t **at = &watches; *at; at = &(*at)->next) {
      if ((*at)->id != id) continue;
      watch_t *gone = *at;
      *at = gone->next;
      free(gone);
      break;
   }
   pthread_mutex_unlock(&watching);
   text_buffer_t body = {0};
   put_u64(&body, id);
   control_ask(CONTROL_REGISTRY_UNWATCH, &body, -1, NULL, NULL);
}
void extension_registry_changed(knap_bytes_t body) {
   uint64_t told[2]; // id, epoch
   if (body.size != sizeof told) return;
   memcpy(told, body.data, sizeof told);
   pthread_mutex_lock(&watching);
   for (watch_t *watch = watches; watch; watch = watch->next)
      if (watch->id == told[0]) watch->watch->changed(watch->context, told[1]);
   pthread_mutex_unlock(&watching);
}
void extension_unwatch_all(void) {
   pthread_mutex_lock(&watching);
   for (watch_t *next; watches; watches = next) next = watches->next, free(watches);
   pthread_mutex_unlock(&watching);
}
static const knap_host_registry_t registry_table = {sizeof registry_table, 0, registry_read, registry_watch, registry_unwatch};

// ## Descriptors

static knap_status_t keep(const knap_host_t *host, knap_text_t name, int32_t descriptor) {
   (void)host;
   if (fcntl(descriptor, F_GETFD) < 0) return KNAP_INVALID_ARGUMENT;
   text_buffer_t body = {0};
   put_text(&body, name);
   return control_ask(CONTROL_KEEP, &body, descriptor, NULL, NULL);
}
static knap_status_t take(const knap_host_t *host, knap_text_t name, int32_t *descriptor) {
   (void)host;
   text_buffer_t body = {0};
   put_text(&body, name);
   *descriptor = -1;
   knap_status_t status = control_ask(CONTROL_TAKE, &body, -1, NULL, descriptor);
   return status == KNAP_OK && *descriptor < 0 ? KNAP_RESOURCE_EXHAUSTED : status;
}
static knap_status_t drop(const knap_host_t *host, knap_text_t name) {
   (void)host;
   text_buffer_t body = {0};
   put_text(&body, name);
   return control_ask(CONTROL_DROP, &body, -1, NULL, NULL);
}
static const knap_host_descriptors_t descriptors_table = {sizeof descriptors_table, 0, keep, take, drop};

// ## Connections: the host connects and says when it has; the descriptor is fetched then.

typedef struct connection {
   struct connection *next;
   uint64_t id;
   void   (*done)(void *context, knap_status_t status, int32_t descriptor, knap_text_t message);
   void    *context;
} connection_t;
static connection_t *connections;
static uint64_t last_connection;
static pthread_mutex_t connecting = PTHREAD_MUTEX_INITIALIZER;

static connection_t *take_connection(uint64_t id) {
   pthread_mutex_lock(&connecting);
   connection_t **at = &connections;
   while (*at && (*at)->id != id) at = &(*at)->next;
   connection_t *found = *at;
   if (found) *at = found->next;
   pthread_mutex_unlock(&connecting);
   return found;
}
static knap_status_t net_connect(const knap_host_t *host, knap_text_t name, uint16_t port, uint64_t deadline_ns,
                                 void (*done)(void *, knap_status_t, int32_t, knap_text_t), void *context) {
   (void)host;
   connection_t *connection = malloc(sizeof *connection);
   if (!connection) return KNAP_RESOURCE_EXHAUSTED;
   pthread_mutex_lock(&connecting);
   uint64_t id = ++last_connection;
   *connection = (connection_t){connections, id, done, context};
   connections = connection;
   pthread_mutex_unlock(&connecting);
   text_buffer_t body = {0};
   put_text(&body, name);
   put_u32(&body, port);
   put_u64(&body, deadline_ns);
   put_u64(&body, id);
   knap_status_t status = control_ask(CONTROL_CONNECT, &body, -1, NULL, NULL);
   if (status != KNAP_OK) free(take_connection(id));
   return status;
}
void extension_connected(knap_bytes_t bytes) {
   struct { uint64_t id; uint32_t status, reserved; } told;
   if (bytes.size < sizeof told) return;
   memcpy(&told, bytes.data, sizeof told);
   connection_t *connection = take_connection(told.id);
   if (!connection) return;
   int descriptor = -1;
   if (told.status == KNAP_OK) {
      text_buffer_t body = {0};
      put_u64(&body, told.id);
      told.status = (uint32_t)control_ask(CONTROL_CONNECTED, &body, -1, NULL, &descriptor);
   }
   knap_text_t message = {(const char *)bytes.data + sizeof told, bytes.size - sizeof told};
   connection->done(connection->context, (knap_status_t)told.status, descriptor, message);
   free(connection);
}
static const knap_host_net_t net_table = {sizeof net_table, 0, net_connect};

static const knap_host_timers_t timers_table = {sizeof timers_table, 0, knap_engine_timer, knap_engine_timer_stop};

const void *extension_table(const knap_host_t *host, const char *id) {
   (void)host;
   static const struct { const char *id; const void *table; } tables[] = {
      {KNAP_EXT_LOG, &log_table}, {KNAP_EXT_CONFIG, &config_table}, {KNAP_EXT_STATE_DIRECTORY, &state_directory_table},
      {KNAP_EXT_SERVICES, &services_table}, {KNAP_EXT_REGISTRY, &registry_table}, {KNAP_EXT_TIMERS, &timers_table},
      {KNAP_EXT_DESCRIPTORS, &descriptors_table}, {KNAP_EXT_NET, &net_table},
   };
   for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
      if (!strcmp(id, tables[i].id)) return tables[i].table;
   return NULL;
}
