// Processes notes: counts its calls, and does what the text says: FAIL, HANG, ODD or CRASH.
#include "plain.h"

static bool says(const knap_request_t *request, const char *word) {
   return memmem(request->body.data, request->body.size, word, strlen(word)) != NULL;
}

METHOD(count) {
   instance_t *self = instance;
   answer(self, request->call, "{\"call\": %ld, \"pid\": %d}", ++self->count, (int)getpid());
}

// Says which results it was given.
METHOD(summary) {
   instance_t *self = instance;
   if (says(request, "CRASH")) abort();
   if (says(request, "HANG")) return;
   if (says(request, "ODD")) return answer(self, request->call, "[1]");
   if (says(request, "FAIL")) {
      knap_result_t result = {.size = sizeof result, .status = KNAP_NOT_FOUND, .message = {"nothing to sum up", 17}};
      self->host->calls->complete(self->host, request->call, &result);
      return;
   }
   answer(self, request->call, "{\"by\": \"%s\", \"count\": %s, \"metadata\": %s, \"links\": %s, \"pid\": %d}", VERSION,
          says(request, "\"count\":{") ? "true" : "false", says(request, "\"metadata\":{") ? "true" : "false",
          says(request, "\"links\":{") ? "true" : "false", (int)getpid());
}

#define METHODS(X) \
   X(count) X(summary)

PLUGIN
