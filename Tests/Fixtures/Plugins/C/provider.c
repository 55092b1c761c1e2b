// One of several providers of a service: it says who it is, and fails as it is told to, unless -DHEALTHY.
#include "plain.h"

static void say_name(void *instance, const knap_request_t *request) { answer(instance, request->call, "\"" NAME "\""); }

METHOD(who) { say_name(instance, request); }

// The body is a status; any other is as UNAVAILABLE.
METHOD(fail) {
#ifdef HEALTHY
   say_name(instance, request);
#else
   char status[16] = "";
   memcpy(status, request->body.data, request->body.size < 15 ? request->body.size : 15);
   finish(instance, request->call, atoi(status) ? atoi(status) : KNAP_UNAVAILABLE, NULL, 0);
#endif
}

// The same, for calls that must not run twice.
METHOD(fail_once) { fail(instance, request); }

// Fails twice and then serves once, again and again.
METHOD(flaky) {
   instance_t *self = instance;
   if (__atomic_add_fetch(&self->count, 1, __ATOMIC_SEQ_CST) % 3) finish(self, request->call, KNAP_UNAVAILABLE, NULL, 0);
   else say_name(instance, request);
}

// Holds its place until there is a file `go` in the plugin's state directory.
METHOD(wait) {
   instance_t *self = instance;
   EXTENSION(knap_host_state_directory_t, KNAP_EXT_STATE_DIRECTORY);
   writing_t path = {0};
   table->path(self->host, &(knap_writer_t){&path, append});
   append(&path, (knap_bytes_t){(const uint8_t *)"/go", 3});
   while (access(path.data, F_OK)) usleep(2000);
   free(path.data);
   say_name(instance, request);
}

#define METHODS(X) \
   X(who) X(fail) X(fail_once) X(flaky) X(wait)

PLUGIN
