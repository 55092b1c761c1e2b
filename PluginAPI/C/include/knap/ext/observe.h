#pragma once
#include "../host.h"

// # Observation
//
// Sees every call that begins and ends, for metrics, traces and audit, and changes nothing. Needs the permission
// `observe`. Without an observer calls are not even timed.

#define KNAP_EXT_OBSERVE "knap.observe/1"

typedef struct knap_observation {
   uint32_t      size;
   knap_status_t status;   // valid at the end
   knap_call_t   call;
   knap_call_t   parent;
   uint64_t      start_ns; // CLOCK_MONOTONIC
   uint64_t      end_ns;   // valid at the end
   knap_text_t   caller;
   knap_text_t   callee;   // at the end: who served, which may be the stand-in of the one at the beginning
   knap_text_t   method;
} knap_observation_t;

// Offered by the plugin.
typedef struct knap_plugin_observe {
   uint32_t size;
   uint32_t reserved;
   // Both return within microseconds and make no calls. [call & active]
   void (*begin)(void *instance, const knap_observation_t *call);
   void (*end)(void *instance, const knap_observation_t *call);
} knap_plugin_observe_t;
