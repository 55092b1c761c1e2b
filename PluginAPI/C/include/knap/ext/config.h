#pragma once
#include "../host.h"

// # Configuration
//
// The plugin's own configuration as one JSON object: the defaults of its manifest, then the operator's file, then the
// environment, checked against the manifest's schema. It does not change under an instance: a change reloads the
// plugin. It may hold secrets; do not log it.

#define KNAP_EXT_CONFIG "knap.config/1"

// Offered by the host.
typedef struct knap_host_config {
   uint32_t size;
   uint32_t reserved;
   // Writes the object as UTF-8 JSON. [any-thread]
   knap_status_t (*read)(const knap_host_t *host, const knap_writer_t *out);
} knap_host_config_t;
