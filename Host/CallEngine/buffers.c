#include "engine.h"
#include <stdlib.h>
#include <string.h>

knap_buffer_t *knap_buffer_make(uint64_t size) {
   if (size > UINT64_MAX - sizeof(knap_buffer_t)) return NULL;
   knap_buffer_t *buffer = malloc(sizeof(knap_buffer_t) + size);
   if (!buffer) return NULL;
   atomic_init(&buffer->references, 1);
   buffer->size = size;
   return buffer;
}

knap_buffer_t *knap_buffer_copy(const void *bytes, uint64_t size) {
   knap_buffer_t *buffer = knap_buffer_make(size);
   if (buffer && size) memcpy(buffer->bytes, bytes, size);
   return buffer;
}

knap_buffer_t *knap_buffer_share(knap_buffer_t *buffer) {
   if (buffer) atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
   return buffer;
}

void knap_buffer_drop(knap_buffer_t *buffer) {
   if (buffer && atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) == 1) free(buffer);
}

static knap_buffer_t *create(const knap_host_t *host, uint64_t size, uint8_t **data) {
   (void)host;
   knap_buffer_t *buffer = knap_buffer_make(size);
   if (buffer) *data = buffer->bytes;
   return buffer;
}

static knap_buffer_t *keep(const knap_host_t *host, knap_bytes_t bytes, knap_buffer_t *holder, knap_bytes_t *kept) {
   (void)host;
   // Bytes that do not lie in the buffer they came with are copied: the pair is a plugin's claim.
   bool inside = holder && bytes.data >= holder->bytes && bytes.size <= holder->size
                 && (uint64_t)(bytes.data - holder->bytes) <= holder->size - bytes.size;
   knap_buffer_t *buffer = inside ? knap_buffer_share(holder) : knap_buffer_copy(bytes.data, bytes.size);
   if (buffer && kept) *kept = inside ? bytes : (knap_bytes_t){buffer->bytes, bytes.size};
   return buffer;
}

static void release(const knap_host_t *host, knap_buffer_t *buffer) {
   (void)host;
   knap_buffer_drop(buffer);
}

const knap_buffers_t knap_buffers = {.size = sizeof(knap_buffers_t), .create = create, .keep = keep, .release = release};
