#pragma once
#include "engine.h"

// # The hot path
// What every call does, in line: a call that is answered inline costs three locked operations and no other function
// of the engine's (Tests/Benchmarks).

// The engine is in the executable, so its thread-local needs no look-up.
extern _Thread_local knap_thread_t *knap_current __attribute__((tls_model("initial-exec")));

static inline knap_thread_t *knap_thread_self(knap_engine_t *engine) {
   knap_thread_t *self = knap_current;
   return __builtin_expect(self && self->engine == engine, 1) ? self : knap_thread_begins(engine);
}

static inline uint32_t knap_depth(const knap_thread_t *thread) {
   return (uint16_t)atomic_load_explicit(&thread->frames, memory_order_relaxed);
}

// Notes that this thread is about to run a function of the target's party.
static inline void knap_frame_enter(knap_thread_t *self, const knap_target_t *target) {
   uint64_t frames = atomic_load_explicit(&self->frames, memory_order_relaxed);
   knap_frame_t *frame = &self->stack[frames % KNAP_FRAMES];
   frames += FRAME_COUNT + 1;
   atomic_store_explicit(&frame->target, target, memory_order_relaxed);
   atomic_store_explicit(&frame->number, frames, memory_order_relaxed);
   atomic_store_explicit(&self->frames, frames, memory_order_release);
   if (__builtin_expect(atomic_load_explicit(&self->unwatched, memory_order_relaxed), 0)) knap_watch_wake(self);
}

static inline void knap_frame_leave(knap_thread_t *self) {
   if (__builtin_expect(self->first != NULL, 0) && knap_depth(self) == 1) knap_frames_drain(self);
   atomic_store_explicit(&self->frames, atomic_load_explicit(&self->frames, memory_order_relaxed) - 1, memory_order_release);
}

// As what a callback to the callee counts. A hook's target goes with its slot, and is not noted.
static inline const knap_target_t *knap_callee_frame(knap_slot_t *slot) {
   const knap_target_t *target = atomic_load_explicit(&slot->target, memory_order_relaxed);
   return target->route ? target : &target->party->named;
}

static inline uint64_t knap_word(const knap_slot_t *slot) {
   return atomic_load_explicit(&slot->word, memory_order_acquire);
}

static inline knap_call_t knap_callee_handle(const knap_slot_t *slot, uint64_t word) {
   return WORD_HANDLE(word, slot->index);
}
static inline knap_call_t knap_caller_handle(const knap_slot_t *slot, uint64_t word) {
   return (word & ~0xffffffffull) | HANDLE_CALLER | slot->index;
}
// Whether the handle still names this end of the call.
static inline bool knap_handle_fits(uint64_t word, knap_call_t call) {
   uint32_t attempt = call & HANDLE_CALLER ? 0 : (uint32_t)((word & WORD_ATTEMPTS) >> 10);
   return WORD_SERIAL(word) == HANDLE_SERIAL(call) && HANDLE_ATTEMPT(call) == attempt;
}

static inline knap_slot_t *knap_slot_take(knap_thread_t *self) {
   knap_slot_t *slot = self->free ? self->free : knap_slot_refill(self);
   if (slot) self->free = slot->next;
   return slot;
}

// The last reference is gone: nothing reaches the slot under this serial any more.
static inline void knap_slot_free(knap_slot_t *slot, uint64_t word) {
   if (__builtin_expect((word & WORD_LISTENING) || slot->holds
                        || atomic_load_explicit(&slot->timer.place, memory_order_seq_cst), 0))
      knap_slot_clean(slot, word);
   uint64_t serial = (word >> 32) + 1;
   if (serial > UINT32_MAX) serial = 1; // 0 would make handle 0 of slot 0
   atomic_store_explicit(&slot->word, serial << 32, memory_order_release);
   if (__builtin_expect(slot->owner != knap_current, 0)) {
      knap_slot_return(slot);
      return;
   }
   slot->next = slot->owner->free;
   slot->owner->free = slot;
}

static inline knap_slot_t *knap_slot_of(knap_engine_t *engine, knap_call_t call) {
   uint32_t index = HANDLE_INDEX(call);
   knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[index / KNAP_CHUNK_SLOTS], memory_order_acquire);
   return chunk ? &chunk[index % KNAP_CHUNK_SLOTS] : NULL;
}
_Static_assert(KNAP_MAX_CHUNKS * KNAP_CHUNK_SLOTS == 1 << 20, "a handle's index has 20 bits");

// ## Permits
// A cell's count is a locked operation, so whoever closes the party and then sees no call in flight can rely on it.
// Whoever gives a place back looks afterwards whether calls wait for one; whoever waits says so before he looks for one.

static inline bool knap_common_take(knap_bulkhead_t *bulkhead) {
   // No decrement that is taken back: it would hide a place from somebody who then waits for it.
   long long left = atomic_load_explicit(&bulkhead->common, memory_order_seq_cst);
   while (left > 0)
      if (atomic_compare_exchange_weak_explicit(&bulkhead->common, &left, left - 1, memory_order_seq_cst,
                                                memory_order_seq_cst))
         return true;
   return false;
}

static inline bool knap_permit_take(knap_party_t *party, knap_cell_t *cell, knap_cell_t **holder) {
   uint64_t before = atomic_fetch_add_explicit(&cell->calls, (1ull << 32) | 1, memory_order_seq_cst);
   *holder = cell;
   if (__builtin_expect((uint32_t)before < atomic_load_explicit(&party->share, memory_order_relaxed), 1)) return true;
   atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_relaxed);
   *holder = NULL;
   if (knap_common_take(&party->bulkhead)) return true;
   atomic_fetch_sub_explicit(&cell->calls, 1ull << 32, memory_order_relaxed);
   return false;
}

static inline void knap_permit_return(knap_party_t *party, knap_cell_t *cell) {
   if (cell) atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_seq_cst);
   else atomic_fetch_add_explicit(&party->bulkhead.common, 1, memory_order_seq_cst);
}

static inline bool knap_alerted(const knap_bulkhead_t *bulkhead, uint32_t alerts) {
   return __builtin_expect(atomic_load_explicit(&bulkhead->alert, memory_order_seq_cst) & alerts, 0);
}

static inline knap_admission_t knap_admit(knap_thread_t *self, knap_slot_t *slot, const knap_target_t *target,
                                          knap_cell_t **cell, knap_bytes_t body, knap_buffer_t *buffer,
                                          knap_refusal_t *refusal) {
   knap_party_t *party = target->party;
   if (knap_alerted(&party->bulkhead, ~0u) || __builtin_expect(target->places != NULL, 0)
       || __builtin_expect(!knap_permit_take(party, &party->cells[self->cell], cell), 0))
      return knap_admit_slowly(self, slot, target, false, cell, body, buffer, refusal);
   if (__builtin_expect(atomic_load_explicit(&party->open, memory_order_seq_cst) != PARTY_OPEN, 0))
      return knap_admit_slowly(self, slot, target, true, cell, body, buffer, refusal);
   return ADMITTED;
}

// Who calls, for the callee to see.
static inline knap_text_t knap_caller_name(const knap_slot_t *slot) {
   if (slot->origin) return (knap_text_t){(const char *)slot->origin->bytes, slot->origin->size};
   return (knap_text_t){slot->caller_party->name, slot->caller_party->name_size};
}

// A call by serial and index: the same for all its attempts.
static inline uint64_t knap_call_id(const knap_slot_t *slot, uint64_t word) {
   return (word & ~0xffffffffull) | slot->index;
}

static inline void knap_account(knap_party_t *party, const knap_slot_t *slot, uint64_t word, knap_status_t status) {
   if (__builtin_expect(status != KNAP_OK, 0)) knap_account_failure(party, slot, status, false);
   else if (knap_alerted(&party->bulkhead, ALERT_BREAKER))
      knap_breaker_note(party, knap_call_id(slot, word), ATTEMPT_SUCCEEDED);
}
