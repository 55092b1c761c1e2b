#pragma once
#include "call.h"

// # Host
//
// What a plugin instance gets of the host, once, in `create`. The pointer stands for that instance: it is passed
// back in every function and stays valid until `destroy` has returned. The core is calls and buffers; everything else
// is an extension asked for by its id.

struct knap_host {
   uint32_t size;
   uint32_t abi; // 0 while the ABI is a draft

   const knap_calls_t   *calls;
   const knap_buffers_t *buffers;

   // Returns the host's table for the extension `id` (such as "knap.log/1"), or null where this host has none. The
   // table lives as long as the host pointer. [any-thread]
   const void *(*extension)(const knap_host_t *host, const char *id);
};
