#pragma once
#include "../host.h"

// # Network broker
//
// Connects to hosts by name, which a sandboxed plugin cannot do for itself: the host checks the grant, resolves,
// connects and hands over the descriptor. Only targets that the manifest asked for and the operator granted.

#define KNAP_EXT_NET "knap.net/1"

// Offered by the host.
typedef struct knap_host_net {
   uint32_t size;
   uint32_t reserved;
   // Connects over TCP. `done` runs exactly once when this returns OK; on status OK it owns `fd` (non-blocking,
   // close-on-exec). PERMISSION_DENIED names the missing grant. [any-thread & active]
   knap_status_t (*connect)(const knap_host_t *host, knap_text_t name, uint16_t port, uint64_t deadline_ns,
                            void (*done)(void *context, knap_status_t status, int32_t fd, knap_text_t message),
                            void *context);
} knap_host_net_t;
