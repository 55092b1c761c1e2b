#pragma once
#include "types.h"

// # Buffers
//
// Memory of the host's that outlives the function it was passed to. Bodies are borrowed: a plugin that needs one
// after its function returned keeps it. `keep` costs a reference where the bytes already lie in a buffer and a copy
// where they do not, and the plugin need not know which.

typedef struct knap_buffer knap_buffer_t;

typedef struct knap_buffers {
   uint32_t size;
   uint32_t reserved;

   // Makes a buffer with one reference, to be filled before it is passed on. Null when memory is exhausted.
   // [any-thread]
   knap_buffer_t *(*create)(const knap_host_t *host, uint64_t size, uint8_t **data);

   // Returns a buffer that holds `bytes`, with a reference of the caller's own. `holder` is the buffer that came with
   // the bytes, or null. `kept`, when not null, gets the bytes' new place. Null when memory is exhausted.
   // [any-thread]
   knap_buffer_t *(*keep)(const knap_host_t *host, knap_bytes_t bytes, knap_buffer_t *holder, knap_bytes_t *kept);

   // Gives back one reference. [any-thread]
   void (*release)(const knap_host_t *host, knap_buffer_t *buffer);
} knap_buffers_t;
