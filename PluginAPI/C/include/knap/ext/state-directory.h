#pragma once
#include "../host.h"

// # State directory
//
// A directory of the plugin's own, mode 0700, kept across restarts, reloads and upgrades, and removed only with the
// plugin. It exists from `create` on. Formats in it change only by addition until an upgrade is committed.

#define KNAP_EXT_STATE_DIRECTORY "knap.state-directory/1"

// Offered by the host.
typedef struct knap_host_state_directory {
   uint32_t size;
   uint32_t reserved;
   // Writes the absolute path. [any-thread]
   knap_status_t (*path)(const knap_host_t *host, const knap_writer_t *out);
} knap_host_state_directory_t;
