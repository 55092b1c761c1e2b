#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <pthread.h>

// # A ring of messages between two processes
//
// One direction: many threads of one process produce under a lock of their own, one thread at a time of the other
// consumes. Messages are a header and a body, contiguous and 32-byte aligned; what does not fit before the end starts
// again at the beginning. Each side keeps its own place in private memory and only publishes it, so nothing that the
// other side writes can move it.
//
// A body that is large goes as several fragments. What does not fit now waits in the producer's memory, in order; only
// `knap_ring_send` without `must` is refused then. So an answer is never lost or blocked, and back-pressure sits where
// calls begin.

enum {
   RING_BYTES    = 1 << 20,
   RING_ALIGN    = 32,
   RING_FRAGMENT = RING_BYTES / 8, // largest piece of a body
};

typedef struct knap_message {
   uint32_t size; // of the body, in this message
   uint8_t  kind; // 0: padding up to the ring's end
   uint8_t  more; // the body goes on in the next message of this ring
   uint16_t flags;
   uint32_t tag, serial;
   uint64_t a, b;
} knap_message_t;

// In shared memory; a zeroed page is an empty ring.
typedef struct knap_ring_shared {
   _Alignas(64) _Atomic uint64_t tail;   // published by the producer
   atomic_uint waits;                     // the producer has messages that did not fit
   atomic_uint parked;                    // the consumer sleeps or is about to
   _Alignas(64) _Atomic uint64_t head;   // given back by the consumer
   _Atomic uint64_t begun;                // up to which the consumer has begun to work on messages
   _Alignas(4096) uint8_t bytes[RING_BYTES];
} knap_ring_shared_t;

typedef struct knap_piece {
   const void *data;
   uint64_t    size;
} knap_piece_t;

typedef struct knap_unsent {
   struct knap_unsent *next;
   knap_message_t header;
   uint8_t bytes[];
} knap_unsent_t;

typedef struct knap_producer {
   knap_ring_shared_t *shared;
   int                 doorbell;
   pthread_mutex_t     lock;
   uint64_t            tail, head; // `head` is what was last read
   knap_unsent_t      *first, *last;
   _Atomic uint64_t    unsent_bytes, sent, wakes;
} knap_producer_t;

typedef struct knap_consumer {
   knap_ring_shared_t *shared;
   int       other_doorbell; // of the producer, when it waits for room
   uint64_t  head, tail;
   uint8_t  *assembled; // a body that comes in fragments
   uint64_t  assembled_size, assembled_capacity, largest;
   uint8_t  *copy; // where bodies are copied to first; null: they are read in place
} knap_consumer_t;

typedef enum { SEND_FULL, SENT, SENT_AND_WOKE } knap_sending_t;

// `position`, when not null, gets the ring's position after the message, before the message is published: while `begun`
// has not reached it the consumer has not begun with the message. 0 when that cannot be said. Takes the lock.
knap_sending_t knap_ring_send(knap_producer_t *producer, knap_message_t header, const knap_piece_t *pieces,
                              uint32_t count, bool must, _Atomic uint64_t *position);
// Sends what did not fit before.
void knap_ring_flush(knap_producer_t *producer);

typedef enum { RING_EMPTY, RING_MESSAGE, RING_CORRUPT } knap_receiving_t;
// The next whole message. Its body is valid until knap_ring_done.
knap_receiving_t knap_ring_receive(knap_consumer_t *consumer, knap_message_t *message, const uint8_t **body);
void knap_ring_done(knap_consumer_t *consumer);
void knap_ring_doorbell(int descriptor);
bool knap_ring_ready(knap_consumer_t *consumer);
