// A plugin that uses everything that the host offers besides calls, and answers with what it got.
#include "plain.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>

METHOD(configuration) {
   instance_t *self = instance;
   EXTENSION(knap_host_config_t, KNAP_EXT_CONFIG);
   writing_t writing = {0};
   knap_status_t status = table->read(self->host, &(knap_writer_t){&writing, append});
   finish(self, request->call, status, writing.data, writing.size);
   free(writing.data);
}

// Adds the text to a file in the state directory and answers how long the file is.
METHOD(remember) {
   instance_t *self = instance;
   EXTENSION(knap_host_state_directory_t, KNAP_EXT_STATE_DIRECTORY);
   writing_t path = {0};
   table->path(self->host, &(knap_writer_t){&path, append});
   append(&path, (knap_bytes_t){(const uint8_t *)"/memory", 7});
   char line[256];
   argument(request, line, sizeof line);
   int file = open(path.data, O_WRONLY | O_CREAT | O_APPEND, 0600);
   if (file < 0 || write(file, line, strlen(line)) < 0) answer(self, request->call, "\"%s\"", strerror(errno));
   else answer(self, request->call, "%ld", (long)lseek(file, 0, SEEK_END));
   if (file >= 0) close(file);
   free(path.data);
}

METHOD(note) {
   instance_t *self = instance;
   EXTENSION(knap_host_log_t, KNAP_EXT_LOG);
   char line[256];
   argument(request, line, sizeof line);
   knap_log_field_t field = {text("colour"), text("green")};
   table->write(self->host, KNAP_LOG_WARN, request->call, text(line), &field, 1);
   answer(self, request->call, "%d", table->enabled(self->host, KNAP_LOG_WARN) != 0);
}

// ## Timers

typedef struct {
   instance_t *self;
   knap_call_t call;
} pending_t;

static pending_t *pend(instance_t *self, knap_call_t call) {
   pending_t *pending = malloc(sizeof *pending);
   *pending = (pending_t){self, call};
   return pending;
}

static uint64_t now(void) {
   struct timespec time;
   clock_gettime(CLOCK_MONOTONIC, &time);
   return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void fire(void *context) {
   pending_t *pending = context;
   answer(pending->self, pending->call, "\"fired\"");
   free(pending);
}

METHOD(timer) {
   instance_t *self = instance;
   EXTENSION(knap_host_timers_t, KNAP_EXT_TIMERS);
   uint64_t id;
   knap_status_t status = table->start(self->host, now() + 10000000, fire, pend(self, request->call), &id);
   if (status != KNAP_OK) answer(self, request->call, "%d", status);
}

METHOD(stopped_timer) {
   instance_t *self = instance;
   EXTENSION(knap_host_timers_t, KNAP_EXT_TIMERS);
   uint64_t id;
   pending_t *pending = pend(self, request->call);
   table->start(self->host, now() + 3600000000000, fire, pending, &id);
   knap_status_t first = table->stop(self->host, id), second = table->stop(self->host, id);
   free(pending);
   answer(self, request->call, "[%d, %d]", first, second);
}

// ## Descriptors

// Leaves the reading end of a pipe with the host, with the text in it.
METHOD(keep) {
   instance_t *self = instance;
   EXTENSION(knap_host_descriptors_t, KNAP_EXT_DESCRIPTORS);
   char line[256];
   int ends[2];
   argument(request, line, sizeof line);
   if (pipe(ends) || write(ends[1], line, strlen(line)) < 0) return answer(self, request->call, "\"%s\"", strerror(errno));
   answer(self, request->call, "%d", table->keep(self->host, text("pipe"), ends[0]));
   close(ends[0]);
   close(ends[1]);
}

METHOD(take) {
   instance_t *self = instance;
   EXTENSION(knap_host_descriptors_t, KNAP_EXT_DESCRIPTORS);
   char line[256];
   int32_t descriptor = -1;
   knap_status_t status = table->take(self->host, text("pipe"), &descriptor);
   if (status != KNAP_OK) return answer(self, request->call, "%d", status);
   ssize_t size = read(descriptor, line, sizeof line - 1);
   bool closes = fcntl(descriptor, F_GETFD) & FD_CLOEXEC;
   close(descriptor);
   answer(self, request->call, "[\"%.*s\", %s]", (int)(size < 0 ? 0 : size), line, closes ? "true" : "false");
}

METHOD(drop) {
   instance_t *self = instance;
   EXTENSION(knap_host_descriptors_t, KNAP_EXT_DESCRIPTORS);
   answer(self, request->call, "%d", table->drop(self->host, text("pipe")));
}

// ## The network broker

// Says "ping" on the connection and answers with what comes back.
static void connected(void *context, knap_status_t status, int32_t descriptor, knap_text_t message) {
   pending_t *pending = context;
   if (status != KNAP_OK) {
      answer(pending->self, pending->call, "[%d, \"%.*s\"]", status, (int)message.size, message.data);
   } else {
      char line[64];
      struct pollfd wait = {descriptor, POLLIN, 0};
      ssize_t size = write(descriptor, "ping", 4) == 4 && poll(&wait, 1, 5000) == 1 ? read(descriptor, line, sizeof line) : 0;
      answer(pending->self, pending->call, "\"%.*s\"", (int)(size < 0 ? 0 : size), line);
      close(descriptor);
   }
   free(pending);
}

// The argument is "NAME PORT".
METHOD(reach) {
   instance_t *self = instance;
   EXTENSION(knap_host_net_t, KNAP_EXT_NET);
   char line[256], name[128] = "";
   unsigned port = 0;
   argument(request, line, sizeof line);
   sscanf(line, "%127s %u", name, &port);
   pending_t *pending = pend(self, request->call);
   knap_status_t status = table->connect(self->host, text(name), (uint16_t)port, now() + 5000000000, connected, pending);
   if (status == KNAP_OK) return;
   free(pending);
   answer(self, request->call, "%d", status);
}

// ## The registry

METHOD(contributions) {
   instance_t *self = instance;
   EXTENSION(knap_host_registry_t, KNAP_EXT_REGISTRY);
   char point[64];
   argument(request, point, sizeof point);
   writing_t writing = {0};
   knap_status_t status = table->read(self->host, text(point), &(knap_writer_t){&writing, append});
   finish(self, request->call, status, writing.data, writing.size);
   free(writing.data);
}

static void changed(void *context, uint64_t epoch) {
   instance_t *self = context;
   (void)epoch;
   __atomic_add_fetch(&self->count, 1, __ATOMIC_SEQ_CST);
}

METHOD(watch) {
   instance_t *self = instance;
   EXTENSION(knap_host_registry_t, KNAP_EXT_REGISTRY);
   static const knap_registry_watch_t watch = {sizeof watch, 0, changed};
   char point[64];
   argument(request, point, sizeof point);
   uint64_t id;
   knap_status_t status = table->watch(self->host, text(point), &watch, self, &id);
   answer(self, request->call, "%d", status);
}

METHOD(changes) {
   instance_t *self = instance;
   answer(self, request->call, "%ld", __atomic_load_n(&self->count, __ATOMIC_SEQ_CST));
}

// ## Others

METHOD(services) {
   instance_t *self = instance;
   EXTENSION(knap_host_services_t, KNAP_EXT_SERVICES);
   char service[64];
   argument(request, service, sizeof service);
   writing_t writing = {0};
   knap_status_t status = table->describe(self->host, text(service), &(knap_writer_t){&writing, append});
   finish(self, request->call, status, writing.data, writing.size);
   free(writing.data);
}

METHOD(bind) {
   instance_t *self = instance;
   EXTENSION(knap_host_services_t, KNAP_EXT_SERVICES);
   char method[64];
   argument(request, method, sizeof method);
   knap_binding_t binding = 0;
   answer(self, request->call, "%d", table->bind(self->host, text(method), text(""), &binding));
}

METHOD(unknown) {
   instance_t *self = instance;
   answer(self, request->call, "%s", self->host->extension(self->host, "knap.teleport/1") ? "true" : "null");
}

#define METHODS(X) \
   X(configuration) X(remember) X(note) X(timer) X(stopped_timer) X(keep) X(take) X(drop) X(reach) X(contributions) \
   X(watch) X(changes) X(services) X(bind) X(unknown)
PLUGIN
