// An interceptor: refuses every call whose method's name contains -DDENIED, and crashes at those with -DFATAL in theirs.
#include <knap/knap.h>
#include <stdlib.h>
#include <string.h>
static const knap_plugin_intercept_t interception;
#define OFFERS(id) (strcmp(id, KNAP_EXT_INTERCEPT) ? NULL : (const void *)&interception)
#include "plain.h"

#ifndef DENIED
#define DENIED "delete"
#endif
#ifndef FATAL
#define FATAL "\n" // in nobody's name
#endif
static knap_status_t decide(void *instance, const knap_call_info_t *call, knap_bytes_t body, knap_text_t *message) {
   (void)instance, (void)body;
   if (memmem(call->method.data, call->method.size, FATAL, strlen(FATAL))) abort();
   if (!memmem(call->method.data, call->method.size, DENIED, strlen(DENIED))) return KNAP_OK;
   *message = text("the guard allows no " DENIED);
   return KNAP_PERMISSION_DENIED;
}
static const knap_plugin_intercept_t interception = {sizeof interception, 0, decide};

METHOD(version) { answer(instance, request->call, "\"" VERSION "\""); }

#define METHODS(X) X(version)
PLUGIN
