#pragma once
#include "../host.h"

// # Descriptors
//
// File descriptors that outlive an instance: a listening socket handed from one generation to the next, across
// reload, crash and restart, so that no connection is refused in between. Names are the plugin's own.

#define KNAP_EXT_DESCRIPTORS "knap.descriptors/1"

// Offered by the host.
typedef struct knap_host_descriptors {
   uint32_t size;
   uint32_t reserved;
   // Leaves a duplicate of `fd` with the host under `name`, in place of an earlier one. [any-thread]
   knap_status_t (*keep)(const knap_host_t *host, knap_text_t name, int32_t fd);
   // Gives a duplicate, close-on-exec, of what is kept under `name`; it stays kept. NOT_FOUND. [any-thread]
   knap_status_t (*take)(const knap_host_t *host, knap_text_t name, int32_t *fd);
   // Forgets it. [any-thread]
   knap_status_t (*drop)(const knap_host_t *host, knap_text_t name);
} knap_host_descriptors_t;
