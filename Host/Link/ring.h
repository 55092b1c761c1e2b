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
//
// ## Who sleeps, and who wakes him
// Each side has one thread that is responsible for what comes, its keeper: the host's poller, a worker's first thread. It
// sleeps at its doorbell, or at the word `parked` itself, which is a futex. Besides, a thread that calls may watch the ring
// for the answer, looking at it or asleep at the word `watch`. What is sent wakes the keeper, unless it is the answer to a
// call whose caller watches.
//
// Both rest on one pattern: the producer writes `tail` and then reads the word, the consumer writes the word and then reads
// `tail`, all sequentially consistent (Dekker). So either the producer sees that somebody sleeps, or the consumer sees the
// message before he does.
// - The keeper sets `parked` and looks at `tail` once more before it sleeps. A producer that finds `parked` set clears it,
//   so that only one of many wakes it, and wakes the keeper.
// - `watch` is a count, and in its lowest bit whether a caller sleeps there. A call takes along the count; its answer wakes
//   nobody while the count is the same. A caller that stops watching raises the count and then looks at `tail` once more,
//   or has whoever takes messages look (link.c). So nothing is written to shared memory while answers come quickly.
// Both words are in a memory that the other side can write, so a wait that must end has a limit of its own.

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
   _Alignas(64) _Atomic uint64_t head;   // given back by the consumer
   _Atomic uint64_t begun;                // up to which the consumer has begun to work on messages
   // Written rarely, and therefore apart:
   _Alignas(64) atomic_uint parked;       // where the consumer's keeper sleeps or is about to
   atomic_uint watch;                     // see above
   atomic_uint waits;                     // the producer has messages that did not fit
   _Atomic uint64_t parked_at;            // when that was, for `parked` is PARKED_HERE: whether a rest is long or short
   _Alignas(4096) uint8_t bytes[RING_BYTES];
} knap_ring_shared_t;

enum { AWAKE, PARKED_AT_BELL, PARKED_HERE }; // of `parked`
enum {
   WATCH_SLEEPS = 1, // of `watch`
   WATCH_COUNT  = 2,
   UNWATCHED    = 1, // instead of a count, which is even: wakes the keeper
};

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
   int                 doorbell; // of the other side's keeper, where it sleeps at one
   pthread_mutex_t     lock;
   uint64_t            tail, head; // `head` is what was last read
   knap_unsent_t      *first, *last;
   _Atomic uint64_t    unsent_bytes, sent, wakes;
} knap_producer_t;

typedef struct knap_consumer {
   knap_ring_shared_t *shared;
   knap_producer_t    *back; // of the same link, to wake the other side when it waits for room
   uint64_t  head, tail;
   uint8_t  *assembled; // a body that comes in fragments
   uint64_t  assembled_size, assembled_capacity, largest;
   uint8_t  *copy; // where bodies are copied to first; null: they are read in place
} knap_consumer_t;

typedef enum { SEND_FULL, SENT, SENT_AND_WOKE } knap_sending_t;

// `position`, when not null, gets the ring's position after the message, before the message is published: while `begun`
// has not reached it the consumer has not begun with the message. 0 when that cannot be said. `watched`: the count that the
// call took along which this message answers, or UNWATCHED. Takes the lock.
knap_sending_t knap_ring_send(knap_producer_t *producer, knap_message_t header, const knap_piece_t *pieces,
                              uint32_t count, bool must, _Atomic uint64_t *position, uint32_t watched);
// Sends what did not fit before.
void knap_ring_flush(knap_producer_t *producer);
// Whether that is worth trying: there is such, and room was made for it.
bool knap_ring_flushable(knap_producer_t *producer);
// Whether the other side's keeper sleeps.
bool knap_ring_parked(const knap_producer_t *producer);
// Whether the consumer's keeper, who sleeps or slept at `parked`, has rested: long enough to be called seldom.
bool knap_ring_rested(const knap_ring_shared_t *shared);

typedef enum { RING_EMPTY, RING_MESSAGE, RING_CORRUPT } knap_receiving_t;
// The next whole message. Its body is valid until knap_ring_done.
knap_receiving_t knap_ring_receive(knap_consumer_t *consumer, knap_message_t *message, const uint8_t **body);
void knap_ring_done(knap_consumer_t *consumer);
bool knap_ring_ready(knap_consumer_t *consumer);
// The count that a call whose caller is going to watch takes along.
uint32_t knap_ring_count(const knap_consumer_t *consumer);

void knap_ring_doorbell(int descriptor);
// The keeper's sleep at `parked`, while that is PARKED_HERE.
void knap_ring_sleep(knap_ring_shared_t *shared);
// A caller's sleep at `watch`, while that is `value`, and at most so long.
void knap_ring_watch(knap_ring_shared_t *shared, uint32_t value, uint64_t limit_ns);
// Wakes the consumer's keeper, if it sleeps.
bool knap_ring_wake(knap_ring_shared_t *shared, int doorbell);
