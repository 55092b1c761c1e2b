#pragma once
#include "../host.h"

// # Registry
//
// What active plugins contribute to an extension point ("mcp", "http", "pages", "cli", "events", ...), as one
// immutable snapshot with an epoch that rises with every change. A plugin that owns a point builds its own tables
// from the snapshot and swaps them; it never hears of single additions, so it cannot miss one.

#define KNAP_EXT_REGISTRY "knap.registry/1"

typedef struct knap_registry_watch {
   uint32_t size;
   uint32_t reserved;
   // Something that the point shows has changed. Read the snapshot now or later. [any-thread]
   void (*changed)(void *context, uint64_t epoch);
} knap_registry_watch_t;

// Offered by the host.
typedef struct knap_host_registry {
   uint32_t size;
   uint32_t reserved;

   // Writes {"epoch": n, "contributions": [{"plugin", "version", "first_party", "item", "method"}]} as JSON, ordered by
   // plugin and place in its manifest. `method`, where the item names one, is its manifest entry. [any-thread]
   knap_status_t (*read)(const knap_host_t *host, knap_text_t point, const knap_writer_t *out);

   // Calls `changed` after every change from now on, until the instance is suspended or `unwatch`. [any-thread]
   knap_status_t (*watch)(const knap_host_t *host, knap_text_t point, const knap_registry_watch_t *watch,
                          void *context, uint64_t *id);

   // After this returned no `changed` is running or will run. Not from inside `changed`. [any-thread]
   void (*unwatch)(const knap_host_t *host, uint64_t id);
} knap_host_registry_t;
