#include "hot.h"
#include <stdlib.h>
#include <time.h>

// Deadlines of calls and timers of plugins, in one binary heap with a thread that sleeps until the earliest. A call
// gets here only when its callee did not complete inline, and leaves when it ends.

uint64_t knap_now_ns(void) {
   struct timespec now;
   clock_gettime(CLOCK_MONOTONIC, &now);
   return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void place(knap_engine_t *engine, uint32_t at, knap_timer_node_t *node) {
   engine->heap[at] = node;
   atomic_store_explicit(&node->place, (int)at + 1, memory_order_seq_cst);
}

static void rise(knap_engine_t *engine, uint32_t at, knap_timer_node_t *node) {
   while (at > 0 && engine->heap[(at - 1) / 2]->when_ns > node->when_ns) {
      place(engine, at, engine->heap[(at - 1) / 2]);
      at = (at - 1) / 2;
   }
   place(engine, at, node);
}

static void sink(knap_engine_t *engine, uint32_t at, knap_timer_node_t *node) {
   for (uint32_t child; (child = 2 * at + 1) < engine->heap_count; at = child) {
      if (child + 1 < engine->heap_count && engine->heap[child + 1]->when_ns < engine->heap[child]->when_ns) child++;
      if (engine->heap[child]->when_ns >= node->when_ns) break;
      place(engine, at, engine->heap[child]);
   }
   place(engine, at, node);
}

static void take_out(knap_engine_t *engine, knap_timer_node_t *node) {
   uint32_t at = (uint32_t)atomic_load_explicit(&node->place, memory_order_relaxed) - 1;
   atomic_store_explicit(&node->place, 0, memory_order_seq_cst);
   knap_timer_node_t *last = engine->heap[--engine->heap_count];
   if (last == node) return;
   if (at > 0 && engine->heap[(at - 1) / 2]->when_ns > last->when_ns) rise(engine, at, last);
   else sink(engine, at, last);
}

static void fire(knap_engine_t *engine, knap_thread_t *self, knap_timer_node_t *node) {
   if (node->kind != TIMER_PLUGIN) {
      // A retry's node may be gone once the lock is.
      knap_timer_kind_t kind = node->kind;
      knap_slot_t *slot = node->slot;
      uint32_t serial = node->serial;
      pthread_mutex_unlock(&engine->timer_lock);
      if (kind == TIMER_DEADLINE) knap_give_up(slot, serial, KNAP_DEADLINE_EXCEEDED);
      else knap_retry_due(slot, serial);
   } else {
      engine->timers[node->index] = NULL;
      // Before the lock goes: whoever ends the party's timers then sees that this thread may be in its code.
      knap_frame_enter(self, &node->party->callback);
      pthread_mutex_unlock(&engine->timer_lock);
      if (atomic_load_explicit(&node->party->open, memory_order_acquire)) node->fire(node->context);
      knap_frame_leave(self);
      free(node);
   }
   pthread_mutex_lock(&engine->timer_lock);
}

static void *run(void *context) {
   knap_engine_t *engine = context;
   knap_thread_t *self = knap_thread_self(engine);
   pthread_mutex_lock(&engine->timer_lock);
   while (!engine->timers_stopping) {
      if (!engine->heap_count) {
         pthread_cond_wait(&engine->timer_changed, &engine->timer_lock);
         continue;
      }
      uint64_t when = engine->heap[0]->when_ns;
      if (when > knap_now_ns()) {
         struct timespec until = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)};
         pthread_cond_timedwait(&engine->timer_changed, &engine->timer_lock, &until);
         continue;
      }
      knap_timer_node_t *node = engine->heap[0];
      take_out(engine, node);
      fire(engine, self, node);
   }
   pthread_mutex_unlock(&engine->timer_lock);
   return NULL;
}

// With the lock held. False: no memory or thread.
static bool insert(knap_engine_t *engine, knap_timer_node_t *node) {
   if (!engine->timer_started) {
      if (pthread_create(&engine->timer_thread, NULL, run, engine)) return false;
      engine->timer_started = true;
   }
   if (engine->heap_count == engine->heap_capacity) {
      uint32_t capacity = engine->heap_capacity ? engine->heap_capacity * 2 : 256;
      void *heap = realloc(engine->heap, capacity * sizeof *engine->heap);
      if (!heap) return false;
      engine->heap = heap;
      engine->heap_capacity = capacity;
   }
   rise(engine, engine->heap_count++, node);
   if (engine->heap[0] == node) pthread_cond_signal(&engine->timer_changed);
   return true;
}

void knap_timer_arm(knap_engine_t *engine, knap_slot_t *slot, uint32_t serial, uint64_t timeout_ns) {
   uint64_t deadline = knap_deadline(slot);
   bool had_time = timeout_ns && deadline >= knap_now_ns() + timeout_ns / 2;
   pthread_mutex_lock(&engine->timer_lock);
   if (!atomic_load_explicit(&slot->timer.place, memory_order_relaxed)) {
      slot->timer.when_ns = deadline;
      slot->timer.serial = serial;
      atomic_store_explicit(&slot->had_time, had_time, memory_order_relaxed);
      insert(engine, &slot->timer);
      // Whoever ended the call in between either sees the place or is seen here.
      uint64_t word = atomic_load_explicit(&slot->word, memory_order_seq_cst);
      if ((WORD_SERIAL(word) != serial || (word & (WORD_DONE | WORD_ANSWERED)))
          && atomic_load_explicit(&slot->timer.place, memory_order_relaxed))
         take_out(engine, &slot->timer);
   }
   pthread_mutex_unlock(&engine->timer_lock);
}

void knap_timer_disarm(knap_slot_t *slot) { knap_timer_remove(slot->caller_party->engine, &slot->timer); }

bool knap_timer_start(knap_engine_t *engine, knap_timer_node_t *node) {
   pthread_mutex_lock(&engine->timer_lock);
   bool started = insert(engine, node);
   pthread_mutex_unlock(&engine->timer_lock);
   return started;
}

void knap_timer_remove(knap_engine_t *engine, knap_timer_node_t *node) {
   pthread_mutex_lock(&engine->timer_lock);
   if (atomic_load_explicit(&node->place, memory_order_relaxed)) take_out(engine, node);
   pthread_mutex_unlock(&engine->timer_lock);
}

static bool enlist(knap_engine_t *engine, knap_timer_node_t *node) {
   uint32_t at = 0;
   while (at < engine->timer_count && engine->timers[at]) at++;
   if (at == engine->timer_count) {
      uint32_t count = at ? at * 2 : 64;
      knap_timer_node_t **timers = realloc(engine->timers, count * sizeof *timers);
      if (!timers) return false;
      for (uint32_t i = at; i < count; i++) timers[i] = NULL;
      engine->timers = timers;
      engine->timer_count = count;
   }
   engine->timers[at] = node;
   node->index = at;
   node->serial = ++engine->timer_serial;
   return true;
}

knap_status_t knap_engine_timer(const knap_host_t *host, uint64_t when_ns, void (*callback)(void *), void *context,
                                uint64_t *timer) {
   knap_party_t *party = knap_party_of(host);
   knap_engine_t *engine = party->engine;
   knap_timer_node_t *node = calloc(1, sizeof *node);
   if (!node) return KNAP_RESOURCE_EXHAUSTED;
   node->when_ns = when_ns;
   node->kind = TIMER_PLUGIN;
   node->fire = callback;
   node->context = context;
   node->party = party;
   pthread_mutex_lock(&engine->timer_lock);
   bool kept = enlist(engine, node);
   if (kept && timer) *timer = (uint64_t)node->serial << 32 | node->index;
   if (kept && !insert(engine, node)) {
      engine->timers[node->index] = NULL;
      kept = false;
   }
   pthread_mutex_unlock(&engine->timer_lock);
   if (!kept) free(node);
   return kept ? KNAP_OK : KNAP_RESOURCE_EXHAUSTED;
}

knap_status_t knap_engine_timer_stop(const knap_host_t *host, uint64_t timer) {
   knap_party_t *party = knap_party_of(host);
   knap_engine_t *engine = party->engine;
   uint32_t index = (uint32_t)timer;
   pthread_mutex_lock(&engine->timer_lock);
   knap_timer_node_t *node = index < engine->timer_count ? engine->timers[index] : NULL;
   if (node && (node->serial != (uint32_t)(timer >> 32) || node->party != party)) node = NULL;
   if (node) {
      engine->timers[index] = NULL;
      take_out(engine, node);
   }
   pthread_mutex_unlock(&engine->timer_lock);
   free(node);
   return node ? KNAP_OK : KNAP_NOT_FOUND;
}

void knap_party_end_timers(knap_party_t *party) {
   knap_engine_t *engine = party->engine;
   pthread_mutex_lock(&engine->timer_lock);
   for (uint32_t i = 0; i < engine->timer_count; i++) {
      knap_timer_node_t *node = engine->timers[i];
      if (!node || node->party != party) continue;
      engine->timers[i] = NULL;
      take_out(engine, node);
      free(node);
   }
   pthread_mutex_unlock(&engine->timer_lock);
}

void knap_timers_stop(knap_engine_t *engine) {
   pthread_mutex_lock(&engine->timer_lock);
   engine->timers_stopping = true;
   pthread_cond_signal(&engine->timer_changed);
   pthread_mutex_unlock(&engine->timer_lock);
   if (engine->timer_started) pthread_join(engine->timer_thread, NULL);
   for (uint32_t i = 0; i < engine->timer_count; i++) free(engine->timers[i]);
   free(engine->timers);
   free(engine->heap);
}
