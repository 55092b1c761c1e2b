#include "hot.h"
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// Slots, their words and the threads that own them. A thread takes slots from its own list and gets them back through
// a stack that other threads push to, so that the usual call touches no shared line.

_Thread_local knap_thread_t *knap_current __attribute__((tls_model("initial-exec")));
static pthread_key_t leaving;
static pthread_once_t once = PTHREAD_ONCE_INIT;

// A thread that ends leaves its record, with its slots, to the next one that starts.
static void thread_ends(void *record) {
   knap_thread_t *self = record;
   knap_current = NULL;
   if (!self->engine) return; // the engine is gone; see knap_engine_destroy
   pthread_mutex_lock(&self->engine->lock);
   self->used = false;
   // It may have ended in the middle of a plugin's code.
   atomic_store(&self->frames, atomic_load(&self->frames) & ~(uint64_t)UINT16_MAX);
   pthread_mutex_unlock(&self->engine->lock);
}

// For a thread of the engine's own, which must be out of the engine before that may go.
void knap_thread_leaves(void) {
   if (!knap_current) return;
   pthread_setspecific(leaving, NULL);
   thread_ends(knap_current);
}

static void make_key(void) { pthread_key_create(&leaving, thread_ends); }

knap_thread_t *knap_thread_begins(knap_engine_t *engine) {
   pthread_once(&once, make_key);
   if (knap_current) thread_ends(knap_current); // it worked for another engine before
   pthread_mutex_lock(&engine->lock);
   knap_thread_t *self = engine->threads;
   while (self && self->used) self = self->next;
   if (!self && (self = calloc(1, sizeof *self))) {
      self->engine = engine;
      self->cell = engine->thread_count++ % KNAP_CELLS;
      self->next = engine->threads;
      engine->threads = self;
   }
   if (self) self->used = true;
   pthread_mutex_unlock(&engine->lock);
   if (!self) abort(); // 100 bytes could not be had: nothing can be served
   self->id = (int32_t)syscall(SYS_gettid);
   atomic_store_explicit(&self->unwatched, true, memory_order_relaxed); // so that a watch hears of it
   knap_current = self;
   pthread_setspecific(leaving, self);
   return self;
}

// Threads that outlive an engine still point at their records, which therefore stay: out of use, but not lost.
void knap_threads_retire(knap_engine_t *engine) {
   static _Atomic(knap_thread_t *) retired;
   pthread_mutex_lock(&engine->lock);
   for (knap_thread_t *thread = engine->threads, *next; thread; thread = next) {
      next = thread->next;
      thread->engine = NULL;
      thread->next = atomic_load(&retired);
      while (!atomic_compare_exchange_weak(&retired, &thread->next, thread));
   }
   pthread_mutex_unlock(&engine->lock);
}

knap_slot_t *knap_slot_refill(knap_thread_t *self) {
   knap_slot_t *slot = atomic_exchange_explicit(&self->returned, NULL, memory_order_acquire);
   if (slot) return slot;
   knap_engine_t *engine = self->engine;
   knap_slot_t *chunk = aligned_alloc(64, sizeof(knap_slot_t) * KNAP_CHUNK_SLOTS);
   if (!chunk) return NULL;
   pthread_mutex_lock(&engine->lock);
   uint32_t number = engine->chunk_count;
   if (number == KNAP_MAX_CHUNKS) {
      pthread_mutex_unlock(&engine->lock);
      free(chunk);
      return NULL;
   }
   for (uint32_t i = 0; i < KNAP_CHUNK_SLOTS; i++) {
      knap_slot_t *fresh = &chunk[i];
      *fresh = (knap_slot_t){.index = number * KNAP_CHUNK_SLOTS + i, .owner = self,
                             .next = i + 1 < KNAP_CHUNK_SLOTS ? fresh + 1 : NULL};
      atomic_init(&fresh->word, 1ull << 32);
      fresh->timer.slot = fresh;
   }
   engine->chunk_count = number + 1;
   atomic_store_explicit(&engine->chunks[number], chunk, memory_order_release);
   pthread_mutex_unlock(&engine->lock);
   return chunk;
}

// What only some calls leave behind.
void knap_slot_clean(knap_slot_t *slot, uint64_t word) {
   if (word & WORD_LISTENING) {
      knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
      knap_frame_enter(self, knap_callee_frame(slot));
      slot->callee->closed(slot->callee_context);
      knap_frame_leave(self);
   }
   if (atomic_load_explicit(&slot->timer.place, memory_order_seq_cst)) knap_timer_disarm(slot);
   if (!slot->holds) return;
   knap_buffer_drop(slot->principal);
   knap_buffer_drop(slot->trace);
   knap_buffer_drop(slot->origin);
   knap_buffer_drop(slot->kept);
   slot->principal = slot->trace = slot->origin = slot->kept = NULL;
   slot->holds = false;
}

// Gives a slot back to the thread that owns it, from another one.
void knap_slot_return(knap_slot_t *slot) {
   knap_thread_t *owner = slot->owner;
   knap_slot_t *head = atomic_load_explicit(&owner->returned, memory_order_relaxed);
   do slot->next = head;
   while (!atomic_compare_exchange_weak_explicit(&owner->returned, &head, slot, memory_order_release, memory_order_relaxed));
}

// Changes the word if it still belongs to `serial` and has all of `must` and none of `must_not`.
bool knap_slot_change(knap_slot_t *slot, uint32_t serial, uint64_t must, uint64_t must_not, uint64_t set, uint64_t add,
                      uint64_t *before) {
   uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
   do {
      if (before) *before = word;
      if (WORD_SERIAL(word) != serial || !(word & WORD_REFS) || (word & must) != must || (word & must_not)) return false;
   } while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, (word | set) + add, memory_order_seq_cst,
                                                   memory_order_acquire));
   if (before) *before = word;
   return true;
}

void knap_slot_release(knap_slot_t *slot) {
   uint64_t before = atomic_fetch_sub_explicit(&slot->word, WORD_REF, memory_order_acq_rel);
   if ((before & WORD_REFS) == WORD_REF) knap_slot_free(slot, before);
}

bool knap_enter_caller(knap_slot_t *slot, uint32_t serial) {
   return knap_slot_change(slot, serial, 0, WORD_ANSWERED, 0, WORD_USER | WORD_REF, NULL);
}

// Delivers the answer that waited for this callback to return.
void knap_leave_caller(knap_slot_t *slot) {
   uint64_t before = atomic_fetch_sub_explicit(&slot->word, WORD_USER, memory_order_acq_rel);
   if ((before & WORD_USERS) == WORD_USER && (before & WORD_ANSWERED)) {
      knap_answer_t *answer = slot->deferred;
      slot->deferred = NULL;
      knap_deliver(slot, &answer->result);
      knap_answer_free(answer);
   }
   knap_slot_release(slot);
}

bool knap_enter_callee(knap_slot_t *slot, uint32_t serial) {
   return knap_slot_change(slot, serial, WORD_LISTENING, WORD_DONE, 0, WORD_REF, NULL);
}
