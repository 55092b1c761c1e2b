#pragma once
#include "types.h"

// # Status
//
// The canonical codes of gRPC (grpc/grpc doc/statuscodes.md), with the same numbers and meaning, so that a status
// passes unchanged through every protocol. Which class a code belongs to decides what the host does with it:
//
//   caller's      INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED UNAUTHENTICATED FAILED_PRECONDITION
//                 OUT_OF_RANGE, and CANCELLED where the caller did cancel
//   transient     UNAVAILABLE ABORTED DEADLINE_EXCEEDED
//   permanent     UNIMPLEMENTED DATA_LOSS
//   overload      RESOURCE_EXHAUSTED
//   plugin's      UNKNOWN INTERNAL, and CANCELLED where nobody cancelled
//
// Only transient and plugin's failures count against a plugin's circuit breaker, and only UNAVAILABLE is retried: answer
// with it where the same call may succeed a moment later. Failures that the host itself answers with have the details
// {"class", "retry": whether to try again, "may_have_run", "retry_after_ms"}.
typedef int32_t knap_status_t;

enum {
   KNAP_OK                  = 0,
   KNAP_CANCELLED           = 1,
   KNAP_UNKNOWN             = 2,
   KNAP_INVALID_ARGUMENT    = 3,
   KNAP_DEADLINE_EXCEEDED   = 4,
   KNAP_NOT_FOUND           = 5,
   KNAP_ALREADY_EXISTS      = 6,
   KNAP_PERMISSION_DENIED   = 7,
   KNAP_RESOURCE_EXHAUSTED  = 8,
   KNAP_FAILED_PRECONDITION = 9,
   KNAP_ABORTED             = 10,
   KNAP_OUT_OF_RANGE        = 11,
   KNAP_UNIMPLEMENTED       = 12,
   KNAP_INTERNAL            = 13,
   KNAP_UNAVAILABLE         = 14,
   KNAP_DATA_LOSS           = 15,
   KNAP_UNAUTHENTICATED     = 16,
};
