#pragma once
#include "../host.h"

// # State handoff
//
// Carries what is in memory from one generation to the next during an exclusive reload: the host calls `save` on the
// old instance after its suspension and `load` on the new one before its activation. After a crash there is nothing
// to load: a plugin starts from its durable state. A plugin that cannot read what it is given refuses, and the reload
// is undone.

#define KNAP_EXT_STATE "knap.state/1"

// Offered by the plugin.
typedef struct knap_plugin_state {
   uint32_t size;
   uint32_t schema; // the version of what `save` writes; raised with every change of format
   // Writes the state. [control & suspended]
   knap_status_t (*save)(void *instance, const knap_writer_t *out);
   // Takes what another generation saved with the given schema. [control & prepared]
   knap_status_t (*load)(void *instance, uint32_t schema, knap_bytes_t state);
} knap_plugin_state_t;
