#include "ring.h"
#include <knap_engine.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t padded(uint64_t size) { return (size + sizeof(knap_message_t) + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1); }

// ## Sleeping and waking

// Between processes, so not FUTEX_PRIVATE_FLAG.
static void futex(atomic_uint *word, int operation, uint32_t value, const struct timespec *limit) {
   syscall(SYS_futex, word, operation, value, limit, NULL, 0);
}

void knap_ring_sleep(knap_ring_shared_t *shared) {
   while (atomic_load_explicit(&shared->parked, memory_order_acquire) == PARKED_HERE)
      futex(&shared->parked, FUTEX_WAIT, PARKED_HERE, NULL);
}

void knap_ring_watch(knap_ring_shared_t *shared, uint32_t value, uint64_t limit_ns) {
   struct timespec limit = {(time_t)(limit_ns / 1000000000u), (long)(limit_ns % 1000000000u)};
   futex(&shared->watch, FUTEX_WAIT, value, &limit);
}

bool knap_ring_wake(knap_ring_shared_t *shared, int doorbell) {
   if (!atomic_load_explicit(&shared->parked, memory_order_seq_cst)) return false;
   switch (atomic_exchange_explicit(&shared->parked, AWAKE, memory_order_seq_cst)) {
      case AWAKE: return false; // another was faster
      case PARKED_HERE: futex(&shared->parked, FUTEX_WAKE, 1, NULL); return true;
      default: knap_ring_doorbell(doorbell); return true;
   }
}

bool knap_ring_parked(const knap_producer_t *producer) {
   return atomic_load_explicit(&producer->shared->parked, memory_order_relaxed) != AWAKE;
}

enum { REST_NS = 50000 }; // longer than it takes both sides to wake up, or each would find that the other rested

bool knap_ring_rested(const knap_ring_shared_t *shared) {
   return knap_now_ns() - atomic_load_explicit(&shared->parked_at, memory_order_relaxed) > REST_NS;
}

void knap_ring_doorbell(int descriptor) {
   uint64_t one = 1;
   // An eventfd takes it unless its count is at the limit, and then it rings already.
   ssize_t written = write(descriptor, &one, sizeof one);
   (void)written;
}

// ## Producing

// Room for a message, contiguous: writes the padding that may be needed. Null: the ring is full.
static uint8_t *reserve(knap_producer_t *producer, uint64_t size) {
   uint64_t need = padded(size), at = producer->tail % RING_BYTES;
   uint64_t skip = RING_BYTES - at < need ? RING_BYTES - at : 0;
   if (producer->tail + skip + need - producer->head > RING_BYTES) {
      uint64_t head = atomic_load_explicit(&producer->shared->head, memory_order_acquire);
      // A head that goes back or past the tail is the other side's nonsense: as if it had not moved.
      if (head - producer->head <= producer->tail - producer->head) producer->head = head;
      if (producer->tail + skip + need - producer->head > RING_BYTES) return NULL;
   }
   if (skip) {
      knap_message_t padding = {.size = (uint32_t)(skip - sizeof padding)};
      memcpy(producer->shared->bytes + at, &padding, sizeof padding);
      producer->tail += skip;
   }
   return producer->shared->bytes + producer->tail % RING_BYTES;
}

static void advance(knap_producer_t *producer, uint64_t size) {
   producer->tail += padded(size);
   producer->sent++;
}

// Publishes, and wakes who must be woken; see ring.h. True: the keeper was.
static bool publish(knap_producer_t *producer, uint32_t watched) {
   knap_ring_shared_t *shared = producer->shared;
   atomic_exchange_explicit(&shared->tail, producer->tail, memory_order_seq_cst);
   if (watched != UNWATCHED) {
      uint32_t watch = atomic_load_explicit(&shared->watch, memory_order_seq_cst);
      if (watch & WATCH_SLEEPS
          && atomic_fetch_and_explicit(&shared->watch, ~(uint32_t)WATCH_SLEEPS, memory_order_seq_cst) & WATCH_SLEEPS)
         futex(&shared->watch, FUTEX_WAKE, INT_MAX, NULL);
      if ((watch & ~(uint32_t)WATCH_SLEEPS) == watched) return false;
   }
   bool woke = knap_ring_wake(shared, producer->doorbell);
   producer->wakes += woke;
   return woke;
}

static bool keep_unsent(knap_producer_t *producer, knap_message_t header, const uint8_t *bytes) {
   knap_unsent_t *unsent = malloc(sizeof *unsent + header.size);
   if (!unsent) return false;
   unsent->next = NULL;
   unsent->header = header;
   memcpy(unsent->bytes, bytes, header.size);
   if (producer->last) producer->last->next = unsent;
   else producer->first = unsent;
   producer->last = unsent;
   producer->unsent_bytes += header.size;
   return true;
}

static void flush(knap_producer_t *producer) {
   bool moved = false;
   for (int round = 0; producer->first && round < 2; round++) {
      for (knap_unsent_t *unsent; (unsent = producer->first);) {
         uint8_t *place = reserve(producer, unsent->header.size);
         if (!place) break;
         memcpy(place, &unsent->header, sizeof unsent->header);
         memcpy(place + sizeof unsent->header, unsent->bytes, unsent->header.size);
         advance(producer, unsent->header.size);
         moved = true;
         producer->first = unsent->next;
         if (!producer->first) producer->last = NULL;
         producer->unsent_bytes -= unsent->header.size;
         free(unsent);
      }
      // Say that room is wanted, and look once more: it may just have come.
      atomic_store_explicit(&producer->shared->waits, producer->first != NULL, memory_order_seq_cst);
   }
   if (moved) publish(producer, UNWATCHED);
}

void knap_ring_flush(knap_producer_t *producer) {
   pthread_mutex_lock(&producer->lock);
   if (producer->first) flush(producer);
   pthread_mutex_unlock(&producer->lock);
}

bool knap_ring_flushable(knap_producer_t *producer) {
   return atomic_load_explicit(&producer->unsent_bytes, memory_order_seq_cst)
          && !atomic_load_explicit(&producer->shared->waits, memory_order_seq_cst);
}

static void gather(uint8_t *to, const knap_piece_t *pieces, uint32_t count) {
   for (uint32_t i = 0; i < count; i++) {
      if (pieces[i].size) memcpy(to, pieces[i].data, pieces[i].size);
      to += pieces[i].size;
   }
}

// The slow way: in fragments, through the queue.
static knap_sending_t send_queued(knap_producer_t *producer, knap_message_t header, const knap_piece_t *pieces,
                                  uint32_t count, uint64_t size) {
   uint8_t *whole = malloc(size ? size : 1);
   if (!whole) return SEND_FULL;
   gather(whole, pieces, count);
   bool kept = true;
   for (uint64_t at = 0; kept && (at < size || at == 0); at += RING_FRAGMENT) {
      uint64_t rest = size - at;
      header.size = (uint32_t)(rest < RING_FRAGMENT ? rest : RING_FRAGMENT);
      header.more = rest > RING_FRAGMENT;
      kept = keep_unsent(producer, header, whole + at);
      if (!size) break;
   }
   free(whole);
   flush(producer);
   return kept ? SENT : SEND_FULL;
}

knap_sending_t knap_ring_send(knap_producer_t *producer, knap_message_t header, const knap_piece_t *pieces,
                              uint32_t count, bool must, _Atomic uint64_t *position, uint32_t watched) {
   uint64_t size = 0;
   for (uint32_t i = 0; i < count; i++) size += pieces[i].size;
   knap_sending_t outcome = SEND_FULL;
   pthread_mutex_lock(&producer->lock);
   if (producer->first && must) flush(producer);
   uint8_t *place = producer->first || size > RING_FRAGMENT ? NULL : reserve(producer, size);
   if (place) {
      header.size = (uint32_t)size;
      header.more = 0;
      memcpy(place, &header, sizeof header);
      gather(place + sizeof header, pieces, count);
      advance(producer, size);
      if (position) *position = producer->tail;
      outcome = publish(producer, watched) ? SENT_AND_WOKE : SENT;
   } else if (must || (!producer->first && size > RING_FRAGMENT)) {
      if (position) *position = 0;
      outcome = send_queued(producer, header, pieces, count, size);
   }
   pthread_mutex_unlock(&producer->lock);
   return outcome;
}

// ## Consuming

bool knap_ring_ready(knap_consumer_t *consumer) {
   return atomic_load_explicit(&consumer->shared->tail, memory_order_acquire) != consumer->head;
}

static bool assemble(knap_consumer_t *consumer, const uint8_t *bytes, uint32_t size) {
   uint64_t need = consumer->assembled_size + size;
   if (need > consumer->largest) return false;
   if (need > consumer->assembled_capacity) {
      uint64_t capacity = consumer->assembled_capacity ? consumer->assembled_capacity : 2 * RING_FRAGMENT;
      while (capacity < need) capacity *= 2;
      uint8_t *larger = realloc(consumer->assembled, capacity);
      if (!larger) return false;
      consumer->assembled = larger;
      consumer->assembled_capacity = capacity;
   }
   if (size) memcpy(consumer->assembled + consumer->assembled_size, bytes, size);
   consumer->assembled_size = need;
   return true;
}

uint32_t knap_ring_count(const knap_consumer_t *consumer) {
   return atomic_load_explicit(&consumer->shared->watch, memory_order_relaxed) & ~(uint32_t)WATCH_SLEEPS;
}

// Gives room back, and tells a producer that waits for it: the other side's keeper, which sleeps for messages of ours.
static void give_back(knap_consumer_t *consumer) {
   atomic_exchange_explicit(&consumer->shared->head, consumer->head, memory_order_seq_cst);
   if (atomic_load_explicit(&consumer->shared->waits, memory_order_relaxed)
       && atomic_exchange_explicit(&consumer->shared->waits, 0, memory_order_seq_cst))
      knap_ring_wake(consumer->back->shared, consumer->back->doorbell);
}

knap_receiving_t knap_ring_receive(knap_consumer_t *consumer, knap_message_t *message, const uint8_t **body) {
   for (;;) {
      if (consumer->tail == consumer->head) {
         consumer->tail = atomic_load_explicit(&consumer->shared->tail, memory_order_acquire);
         if (consumer->tail == consumer->head) return RING_EMPTY;
      }
      uint64_t there = consumer->tail - consumer->head, at = consumer->head % RING_BYTES;
      if (there > RING_BYTES || there % RING_ALIGN) return RING_CORRUPT;
      const uint8_t *place = consumer->shared->bytes + at;
      memcpy(message, place, sizeof *message); // checked on this copy
      uint64_t whole = padded(message->size);
      if (whole > there || at + whole > RING_BYTES || (message->kind && message->size > RING_FRAGMENT)) return RING_CORRUPT;
      consumer->head += whole;
      if (!message->kind) {
         give_back(consumer);
         continue;
      }
      const uint8_t *bytes = place + sizeof *message;
      if (message->more || consumer->assembled_size) {
         bool fits = assemble(consumer, bytes, message->size);
         give_back(consumer);
         if (!fits) return RING_CORRUPT;
         if (message->more) continue;
         message->size = (uint32_t)consumer->assembled_size;
         *body = consumer->assembled;
      } else if (consumer->copy) {
         memcpy(consumer->copy, bytes, message->size);
         *body = consumer->copy;
      } else {
         *body = bytes;
      }
      atomic_store_explicit(&consumer->shared->begun, consumer->head, memory_order_release);
      return RING_MESSAGE;
   }
}

void knap_ring_done(knap_consumer_t *consumer) {
   consumer->assembled_size = 0;
   if (consumer->assembled_capacity > 16 * RING_FRAGMENT) { // one huge body must not stay for ever
      free(consumer->assembled);
      consumer->assembled = NULL;
      consumer->assembled_capacity = 0;
   }
   give_back(consumer);
}
