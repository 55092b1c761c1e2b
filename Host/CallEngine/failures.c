#include "hot.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// What kind of failure a status is, how it is counted, and the answers of the host's own.

knap_failure_t knap_failure_of(knap_status_t status, bool by_host) {
   switch (status) {
      case KNAP_OK: return KNAP_FAILURE_NONE;
      case KNAP_UNAVAILABLE: case KNAP_ABORTED: case KNAP_DEADLINE_EXCEEDED: return KNAP_FAILURE_TRANSIENT;
      case KNAP_RESOURCE_EXHAUSTED: return KNAP_FAILURE_OVERLOAD;
      case KNAP_UNIMPLEMENTED: case KNAP_DATA_LOSS: return KNAP_FAILURE_PERMANENT;
      // Where the caller cancels, the host answers; a plugin that says so was not asked to.
      case KNAP_CANCELLED: return by_host ? KNAP_FAILURE_CALLER : KNAP_FAILURE_PLUGIN;
      case KNAP_INVALID_ARGUMENT: case KNAP_NOT_FOUND: case KNAP_ALREADY_EXISTS: case KNAP_PERMISSION_DENIED:
      case KNAP_UNAUTHENTICATED: case KNAP_FAILED_PRECONDITION: case KNAP_OUT_OF_RANGE: return KNAP_FAILURE_CALLER;
      default: return KNAP_FAILURE_PLUGIN; // UNKNOWN, INTERNAL, and what is no status
   }
}

const char *knap_failure_name(knap_failure_t failure) {
   static const char *const names[KNAP_FAILURES] = {"none", "caller", "transient", "permanent", "plugin", "overload"};
   return failure < KNAP_FAILURES ? names[failure] : "none";
}

void knap_refusal_make(knap_refusal_t *refusal, knap_status_t status, int64_t retry_ms, bool may_have_run,
                       const char *format, ...) {
   va_list arguments;
   va_start(arguments, format);
   int size = vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
   va_end(arguments);
   if (size < 0) size = 0;
   if ((size_t)size >= sizeof refusal->message) size = sizeof refusal->message - 1;
   int details = snprintf(refusal->details, sizeof refusal->details, "{\"class\":\"%s\",\"retry\":%s,\"may_have_run\":%s",
                          knap_failure_name(knap_failure_of(status, true)), retry_ms == RETRY_NEVER ? "false" : "true",
                          may_have_run ? "true" : "false");
   details += snprintf(refusal->details + details, sizeof refusal->details - (size_t)details,
                       retry_ms > 0 ? ",\"retry_after_ms\":%lld}" : "}", (long long)retry_ms);
   refusal->by_breaker = false;
   refusal->result = (knap_result_t){
      .size = sizeof refusal->result, .status = status, .message = {refusal->message, (uint64_t)size},
      .body = {(const uint8_t *)refusal->details, (uint64_t)details}};
}

void knap_refuse(knap_party_t *party, const knap_refusal_t *refusal) {
   atomic_fetch_add_explicit(&party->refused, 1, memory_order_relaxed);
   knap_failure_t failure = knap_failure_of(refusal->result.status, true);
   atomic_fetch_add_explicit(&party->failed[failure], 1, memory_order_relaxed);
}

void knap_account_failure(knap_party_t *party, const knap_slot_t *slot, knap_status_t status, bool by_host) {
   knap_failure_t failure = knap_failure_of(status, by_host);
   atomic_fetch_add_explicit(&party->failed[failure], 1, memory_order_relaxed);
   knap_attempt_t attempt = failure == KNAP_FAILURE_TRANSIENT || failure == KNAP_FAILURE_PLUGIN ? ATTEMPT_FAILED
                                                                                                 : ATTEMPT_SUCCEEDED;
   // A caller that allows next to no time must not open the breaker for all others.
   if (status == KNAP_DEADLINE_EXCEEDED && !atomic_load_explicit(&slot->had_time, memory_order_relaxed))
      attempt = ATTEMPT_UNDECIDED;
   if (attempt == ATTEMPT_FAILED || knap_alerted(&party->bulkhead, ALERT_BREAKER))
      knap_breaker_note(party, knap_call_id(slot, knap_word(slot)), attempt);
}
