#pragma once
#include "../host.h"

// # Drain
//
// Told before `suspend`, while calls are still in flight: stop taking work from outside (accept no connection, end
// long streams with UNAVAILABLE, reason "moved"), so that what is in flight can end within the drain's time.

#define KNAP_EXT_DRAIN "knap.drain/1"

// Offered by the plugin.
typedef struct knap_plugin_drain {
   uint32_t size;
   uint32_t reserved;
   // The drain begins and should end by `deadline_ns` (CLOCK_MONOTONIC). [control & active]
   void (*begin)(void *instance, uint64_t deadline_ns);
   // The drain was given up: serve on. [control & active]
   void (*abandon)(void *instance);
} knap_plugin_drain_t;
