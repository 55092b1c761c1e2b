#pragma once
#include "../host.h"

// # Timers
//
// A callback at a time, without a thread of the plugin's own. Timers of an instance end with its suspension.

#define KNAP_EXT_TIMERS "knap.timers/1"

// Offered by the host.
typedef struct knap_host_timers {
   uint32_t size;
   uint32_t reserved;
   // Calls `fire` once at `when_ns` (CLOCK_MONOTONIC) or soon after, on a thread of the host's. `fire` returns within
   // a millisecond. [any-thread & active]
   knap_status_t (*start)(const knap_host_t *host, uint64_t when_ns, void (*fire)(void *context), void *context,
                          uint64_t *timer);
   // OK: `fire` will not run. NOT_FOUND: it ran or is running. [any-thread]
   knap_status_t (*stop)(const knap_host_t *host, uint64_t timer);
} knap_host_timers_t;
