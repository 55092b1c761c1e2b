#pragma once
#include "../host.h"

// # Health
//
// Whether an active plugin can do its work, asked from time to time and on `knap doctor`. Degraded plugins go on
// serving; unhealthy ones are restarted as their manifest says.

#define KNAP_EXT_HEALTH "knap.health/1"

enum {
   KNAP_HEALTHY   = 0,
   KNAP_DEGRADED  = 1,
   KNAP_UNHEALTHY = 2,
};

// Offered by the plugin.
typedef struct knap_plugin_health {
   uint32_t size;
   uint32_t reserved;
   // Returns one of the above and writes what a person should know as a JSON object. Within a millisecond.
   // [call & active]
   int32_t (*check)(void *instance, const knap_writer_t *out);
} knap_plugin_health_t;
