// A plugin in C whose behaviour the tests choose when they compile it: -DNAME, -DVERSION and one of the switches below.
#include <knap/knap.h>
#include <stdlib.h>
#include <string.h>

#ifndef NAME
#define NAME "fixture"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef SERVICE
#define SERVICE "test." NAME
#endif

typedef struct {
   const knap_host_t *host;
   knap_call_t        held;
} instance_t;

static void answer(instance_t *self, knap_call_t call, const char *text) {
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)text, strlen(text)}};
   self->host->calls->complete(self->host, call, &result);
}

static void echo(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   knap_result_t result = {.size = sizeof result, .body = request->body};
   self->host->calls->complete(self->host, request->call, &result);
}

// Completes, and completes again.
static void twice(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   answer(self, request->call, "1");
   answer(self, request->call, "2");
}

static void never(void *instance, const knap_request_t *request) { ((instance_t *)instance)->held = request->call; }

// Completes the call that `never` held, long after its caller gave up.
static void late(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   knap_status_t status = self->host->calls->complete(self->host, self->held, NULL);
   answer(self, request->call, status == KNAP_CANCELLED ? "\"dropped\"" : "\"taken\"");
}

static void fail(void *instance, const knap_request_t *request) {
   instance_t   *self = instance;
   knap_result_t result = {.size = sizeof result, .status = KNAP_NOT_FOUND, .message = {"no such thing", 13}};
   self->host->calls->complete(self->host, request->call, &result);
}

#define METHOD(function) static const knap_method_t function##_method = {sizeof(knap_method_t), 0, SERVICE "." #function, function}
METHOD(echo);
METHOD(twice);
METHOD(never);
METHOD(late);
METHOD(fail);
static const knap_method_t *const methods[] = {
   &echo_method, &twice_method, &never_method, &late_method,
#ifndef LACKS_FAIL
   &fail_method,
#endif
};

static knap_status_t create(const knap_host_t *host, void **instance) {
#ifdef CREATE_FAILS
   return KNAP_RESOURCE_EXHAUSTED;
#endif
   instance_t *self = calloc(1, sizeof *self);
   if (!self) return KNAP_RESOURCE_EXHAUSTED;
   self->host = host;
   *instance = self;
   return KNAP_OK;
}

static void hook(void *instance, knap_call_t call) {
   instance_t *self = instance;
   self->host->calls->complete(self->host, call, NULL);
}

static void activate(void *instance, knap_call_t call) {
#ifdef ACTIVATE_FAILS
   instance_t   *self = instance;
   knap_result_t result = {.size = sizeof result, .status = KNAP_UNAVAILABLE, .message = {"the door is locked", 18}};
   self->host->calls->complete(self->host, call, &result);
#elif defined(ACTIVATE_HANGS)
   (void)instance;
   (void)call;
#else
   hook(instance, call);
#endif
}

static void        destroy(void *instance) { free(instance); }
static const void *extension(void *instance, const char *id) {
   (void)instance;
   (void)id;
   return NULL;
}

#ifndef NOT_A_PLUGIN
KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) {
   static const knap_plugin_t plugin = {
      sizeof(knap_plugin_t), sizeof methods / sizeof *methods, NAME, VERSION, methods, create, hook, activate, hook, destroy, extension,
   };
   return &plugin;
}
#endif
