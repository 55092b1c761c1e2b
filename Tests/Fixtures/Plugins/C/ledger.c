// A plugin with durable state whose format its versions change: -DSCHEMA is the format that it writes. Activation converts
// what it finds, in a way that older code cannot read, and refuses what is newer. -DACTIVATED=FAULT goes wrong after the
// conversion, -DREFUSES makes activation fail.
#include "plain.h"
#include <fcntl.h>
#include <sys/stat.h>

#ifndef SCHEMA
#define SCHEMA 0
#endif

static bool ails;

static void place(instance_t *self, const char *name, char *out, size_t size) {
   EXTENSION(knap_host_state_directory_t, KNAP_EXT_STATE_DIRECTORY);
   writing_t path = {0};
   table->path(self->host, &(knap_writer_t){&path, append});
   snprintf(out, size, "%s/%s", path.data, name);
   free(path.data);
}

static void file_of(instance_t *self, const char *stem, int format, char *out, size_t size) {
   char name[64];
   snprintf(name, sizeof name, "%s.%d", stem, format);
   place(self, name, out, size);
}

static void put(const char *path, const char *text, int flags) {
   int file = open(path, O_WRONLY | O_CREAT | flags, 0600);
   if (file < 0 || write(file, text, strlen(text)) < 0 || fsync(file)) abort();
   close(file);
}

static int found(instance_t *self) {
   char path[512], text[16] = "";
   place(self, "format", path, sizeof path);
   int file = open(path, O_RDONLY);
   if (file < 0) return -1;
   if (read(file, text, sizeof text - 1) < 0) abort();
   close(file);
   return atoi(text);
}

static void set_format(instance_t *self) {
   char path[512], text[16];
   place(self, "format", path, sizeof path);
   snprintf(text, sizeof text, "%d", SCHEMA);
   put(path, text, O_TRUNC);
}

// Adds a line, on disk when it is answered.
METHOD(add) {
   instance_t *self = instance;
   char line[256], path[512];
   argument(request, line, sizeof line - 1);
   strcat(line, ";");
   file_of(self, "lines", SCHEMA, path, sizeof path);
   put(path, line, O_APPEND);
   answer(self, request->call, "null");
}

// All lines, and the format that they are in.
METHOD(lines) {
   instance_t *self = instance;
   char path[512], text[4096] = "";
   file_of(self, "lines", SCHEMA, path, sizeof path);
   int file = open(path, O_RDONLY);
   if (file >= 0 && read(file, text, sizeof text - 1) < 0) abort();
   if (file >= 0) close(file);
   answer(self, request->call, "\"%d:%s\"", found(self), text);
}

METHOD(version) { answer(instance, request->call, "\"%s\"", VERSION); }
METHOD(crash) { (void)instance, (void)request, abort(); }
METHOD(break_down) { finish(instance, request->call, KNAP_INTERNAL, NULL, 0); }
METHOD(ail) {
   ails = true;
   answer(instance, request->call, "null");
}

#define METHODS(X) X(add) X(lines) X(version) X(crash) X(break_down) X(ail)
METHODS(TABLE)
static const knap_method_t *const methods[] = {METHODS(POINTER)};

static knap_status_t create(const knap_host_t *host, void **instance) {
   instance_t *self = calloc(1, sizeof *self);
   self->host = host;
   *instance = self;
   return KNAP_OK;
}

static void done(void *instance, knap_call_t call) { finish(instance, call, KNAP_OK, NULL, 0); }

static void activate(void *instance, knap_call_t call) {
   instance_t *self = instance;
   int format = found(self);
#ifdef REFUSES
   format = SCHEMA + 1;
#endif
   if (format > SCHEMA) {
      knap_result_t result = {.size = sizeof result, .status = KNAP_FAILED_PRECONDITION, .message = text("a newer format")};
      self->host->calls->complete(self->host, call, &result);
      return;
   }
   if (format < SCHEMA) {
      char from[512], to[512];
      file_of(self, "lines", format, from, sizeof from);
      file_of(self, "lines", SCHEMA, to, sizeof to);
      rename(from, to);
      set_format(self);
   }
#ifdef ACTIVATED
   ACTIVATED();
#endif
   done(instance, call);
}

static void committed(void *instance, knap_call_t call) {
   instance_t *self = instance;
   char path[512];
   place(self, "committed", path, sizeof path);
   put(path, VERSION ";", O_APPEND);
   done(instance, call);
}

static int32_t check(void *instance, const knap_writer_t *out) {
   (void)instance;
   out->write(out->context, (knap_bytes_t){(const uint8_t *)"{}", 2});
   return ails ? KNAP_UNHEALTHY : KNAP_HEALTHY;
}

static const void *extension(void *instance, const char *id) {
   static const knap_plugin_committed_t committing = {sizeof committing, 0, committed};
   static const knap_plugin_health_t health = {sizeof health, 0, check};
   (void)instance;
   if (!strcmp(id, KNAP_EXT_COMMITTED)) return &committing;
   return strcmp(id, KNAP_EXT_HEALTH) ? NULL : &health;
}

KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) {
   static const knap_plugin_t plugin = {
      sizeof(knap_plugin_t), sizeof methods / sizeof *methods, NAME, VERSION, methods, create, done, activate, done, free, extension,
   };
   return &plugin;
}
