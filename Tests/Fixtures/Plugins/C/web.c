// A plugin with methods for routes and tools over HTTP. -DGREETING tells one build from another.
#include "plain.h"

#ifndef GREETING
#define GREETING "Hello"
#endif

// Answers with what it got.
METHOD(echo) { finish(instance, request->call, KNAP_OK, (const char *)request->body.data, request->body.size); }
METHOD(greet) { answer(instance, request->call, "\"%s\"", GREETING); }
METHOD(quiet) { finish(instance, request->call, KNAP_OK, NULL, 0); }
METHOD(garbled) { answer(instance, request->call, "{\"half\": "); }

static void reply(instance_t *self, knap_call_t call, const char *type, const char *body) {
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)body, strlen(body)}, .content_type = text(type)};
   self->host->calls->complete(self->host, call, &result);
}
METHOD(page) { reply(instance, request->call, "text/html; charset=utf-8", "<p>" GREETING "</p>"); }
METHOD(split) { reply(instance, request->call, "text/plain\r\nSet-Cookie: a=b", "x"); }
METHOD(result) {
   reply(instance, request->call, "application/vnd.knap.mcp-result+json",
         "{\"content\":[{\"type\":\"text\",\"text\":\"for the model\"}],\"structuredContent\":{\"n\": 1.50}}");
}
METHOD(blocks) {
   reply(instance, request->call, "application/vnd.knap.mcp-result+json", "{\"content\":[{\"type\":\"text\",\"text\":\"" GREETING "\"}]}");
}
METHOD(mistake) {
   reply(instance, request->call, "application/vnd.knap.mcp-result+json",
         "{\"content\":[{\"type\":\"text\",\"text\":\"There is no such city.\"}],\"isError\":true}");
}
METHOD(ask) {
   reply(instance, request->call, "application/vnd.knap.mcp-result+json",
         "{\"resultType\":\"input_required\",\"inputRequests\":{\"who\":{\"method\":\"elicitation/create\",\"params\":{}}}}");
}
// Would rather be a task; goes on where it is called again with its state.
METHOD(later) {
   char body[512] = "";
   memcpy(body, request->body.data, request->body.size < sizeof body - 1 ? request->body.size : sizeof body - 1);
   reply(instance, request->call, "application/vnd.knap.mcp-result+json",
         strstr(body, "\"requestState\":\"half\"") ? "{\"structuredContent\":{\"done\":true}}"
                                                     : "{\"resultType\":\"task\",\"requestState\":\"half\"}");
}
// The same, for ever.
METHOD(never) {
   reply(instance, request->call, "application/vnd.knap.mcp-result+json", "{\"resultType\":\"task\"}");
}

// For whom and in which trace it is called.
METHOD(about) {
   instance_t *self = instance;
   knap_call_info_t info = {.size = sizeof info};
   self->host->calls->info(self->host, request->call, &info);
   answer(self, request->call, "{\"principal\": \"%.*s\", \"trace\": \"%.*s\"}", (int)info.principal.size, info.principal.data,
          (int)info.trace.size, info.trace.data);
}

// Fails with the status that its input has.
METHOD(fail) {
   instance_t *self = instance;
   int status = 0;
   for (uint64_t at = 0; at < request->body.size; at++)
      if (request->body.data[at] >= '0' && request->body.data[at] <= '9') status = status * 10 + request->body.data[at] - '0';
   const char *details = "{\"why\":\"asked to\",\"retry_after_ms\":1500}";
   knap_result_t result = {
      .size = sizeof result, .status = status, .message = text("as you wish"), .body = {(const uint8_t *)details, strlen(details)},
   };
   self->host->calls->complete(self->host, request->call, &result);
}

static void no_input(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void nothing(void *context, knap_call_t call) { (void)context; (void)call; }
static void released(void *context) { (void)context; }
static void stop(void *context, knap_call_t call, knap_status_t reason) {
   instance_t *self = context;
   __atomic_store_n(&self->count, -1, __ATOMIC_SEQ_CST);
   finish(self, call, reason, NULL, 0);
}
static const knap_callee_t waiting = {sizeof waiting, 0, no_input, nothing, nothing, stop, released};
// Ends only when it is cancelled; `state` is 1 while one waits, and -1 once it was cancelled.
METHOD(wait) {
   instance_t *self = instance;
   __atomic_store_n(&self->count, 1, __ATOMIC_SEQ_CST);
   self->host->calls->listen(self->host, request->call, &waiting, self);
}
METHOD(state) {
   instance_t *self = instance;
   answer(self, request->call, "%ld", __atomic_load_n(&self->count, __ATOMIC_SEQ_CST));
}

static void say(instance_t *self, knap_call_t call, const char *body) {
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {(const uint8_t *)body, strlen(body)}};
   self->host->calls->send(self->host, call, &item);
}
// Three items and an answer; or, as its input says, nothing at all, or items and a wait for the end.
static void tell(instance_t *self, const knap_request_t *request) {
   char body[256] = "";
   memcpy(body, request->body.data, request->body.size < sizeof body - 1 ? request->body.size : sizeof body - 1);
   if (strstr(body, "nothing")) return finish(self, request->call, KNAP_NOT_FOUND, NULL, 0);
   if (strstr(body, "wait")) {
      __atomic_store_n(&self->count, 1, __ATOMIC_SEQ_CST);
      self->host->calls->listen(self->host, request->call, &waiting, self);
   }
   for (int number = 1; number <= 3; number++) {
      char item[32];
      snprintf(item, sizeof item, "{\"n\":\n%d}", number);
      say(self, request->call, item);
   }
   if (strstr(body, "wait")) return;
   finish(self, request->call, KNAP_OK, "\"done\"", 6);
}
METHOD(events) { tell(instance, request); }
METHOD(pieces) { tell(instance, request); }

#define METHODS(X) \
   X(echo) X(greet) X(quiet) X(garbled) X(page) X(split) X(result) X(blocks) X(mistake) X(ask) X(later) X(never) X(about) \
   X(fail) X(wait) X(state) X(events) X(pieces)
PLUGIN
