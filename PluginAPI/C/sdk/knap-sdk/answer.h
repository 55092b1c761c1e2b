#pragma once
// # Ends of calls, for plugins in C
#include <knap/knap.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Ends a call with an answer; the bytes are copied, or borrowed until this returns.
static inline void knap_answer(const knap_host_t *host, knap_call_t call, knap_bytes_t body) {
   knap_result_t result;
   memset(&result, 0, sizeof result);
   result.size = sizeof result;
   result.body = body;
   host->calls->complete(host, call, &result);
}

// Ends a call, or a hook, for which OK says everything.
static inline void knap_done(const knap_host_t *host, knap_call_t call) { host->calls->complete(host, call, NULL); }

// Ends a call with a failure. The message says what happened, to what, and what to do; it is cut after 1,023 bytes.
__attribute__((format(printf, 4, 5))) static inline void knap_fail(
   const knap_host_t *host, knap_call_t call, knap_status_t status, const char *format, ...) {
   char message[1024];
   va_list arguments;
   va_start(arguments, format);
   int size = vsnprintf(message, sizeof message, format, arguments);
   va_end(arguments);
   knap_result_t result;
   memset(&result, 0, sizeof result);
   result.size = sizeof result;
   result.status = status;
   result.message.data = message;
   result.message.size = size < 0 ? 0 : size < (int)sizeof message ? (uint64_t)size : sizeof message - 1;
   host->calls->complete(host, call, &result);
}
