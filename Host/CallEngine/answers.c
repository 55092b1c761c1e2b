#include "hot.h"
#include <string.h>

// How a call ends: the callee completes it, or the host answers in its place.

void knap_tell_caller(knap_slot_t *slot, const knap_result_t *result, uint64_t word) {
   if (slot->observed) knap_observe_end(slot, knap_callee_handle(slot, word), result->status);
   slot->caller->complete(slot->caller_context, knap_caller_handle(slot, word), result);
}

// Gives the caller its answer, for which the right was won (WORD_ANSWERED), and drops the answer's reference.
void knap_deliver(knap_slot_t *slot, const knap_result_t *result) {
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   if (knap_depth(self) >= KNAP_MAX_DEPTH) {
      knap_defer(self, (knap_deferred_t){.slot = slot, .kind = DEFER_ANSWER, .answer = knap_answer_copy(result)});
      return;
   }
   knap_frame_enter(self, &slot->caller_party->callback);
   knap_tell_caller(slot, result, knap_word(slot));
   knap_slot_release(slot);
   knap_frame_leave(self);
}

// Answers in place of the callee, which goes on holding its slot. False: the caller has its answer already.
static bool answer(knap_slot_t *slot, uint32_t serial, const knap_result_t *result) {
   uint64_t before;
   if (knap_slot_change(slot, serial, 0, WORD_ANSWERED | WORD_USERS, WORD_ANSWERED, 0, &before)) {
      knap_deliver(slot, result);
      return true;
   }
   // A callback to the caller is running; the answer follows it.
   if (!knap_slot_change(slot, serial, 0, WORD_ANSWERED, WORD_ANSWERED, WORD_USER | WORD_REF, &before)) return false;
   slot->deferred = knap_answer_copy(result);
   knap_leave_caller(slot);
   return true;
}

void knap_tell_cancel(knap_slot_t *slot, uint32_t serial, knap_status_t reason) {
   knap_slot_change(slot, serial, 0, WORD_DONE | WORD_CANCELLED, WORD_CANCELLED, 0, NULL);
   if (!knap_enter_callee(slot, serial)) return;
   uint64_t before;
   if (knap_slot_change(slot, serial, WORD_CANCELLED, WORD_CANCEL_TOLD, WORD_CANCEL_TOLD, 0, &before)) {
      knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
      knap_frame_enter(self, knap_callee_frame(slot));
      slot->callee->cancel(slot->callee_context, knap_callee_handle(slot, before), reason);
      knap_frame_leave(self);
   }
   knap_slot_release(slot);
}

void knap_end_unserved(knap_slot_t *slot) {
   knap_slot_change(slot, WORD_SERIAL(knap_word(slot)), 0, WORD_DONE, WORD_DONE, 0, NULL);
   knap_slot_release(slot);
}

// What the caller of a call that is given up is told.
static void explain(const knap_target_t *target, knap_where_t where, knap_status_t reason, knap_refusal_t *refusal) {
   const char *name = target->party->name;
   bool idempotent = target->flags & KNAP_ROUTE_IDEMPOTENT;
   if (reason == KNAP_CANCELLED)
      return knap_refusal_make(refusal, reason, RETRY_NEVER, where == NOWHERE, "the caller cancelled the call");
   switch (where) {
      case IN_LINE:
         return knap_refusal_make(refusal, reason, RETRY_LATER, false,
                                  "the deadline passed while the call waited for a place: %s serves %u calls at once "
                                  "(limits.in_flight); try again later", name, target->party->bulkhead.limit);
      case AT_GATE:
         return knap_refusal_make(refusal, reason, RETRY_LATER, false,
                                  "the deadline passed while the call waited for %s to be replaced; try again", name);
      default:
         return knap_refusal_make(refusal, reason, idempotent ? RETRY_LATER : RETRY_NEVER, true,
                                  "the deadline passed before the call completed; it may have run");
   }
}

// Counts it where it hung: who ran it, or who was too busy to.
static void account(const knap_target_t *target, const knap_slot_t *slot, knap_where_t where, knap_status_t reason) {
   knap_party_t *party = target->party;
   uint64_t id = knap_call_id(slot, knap_word(slot));
   bool late = reason == KNAP_DEADLINE_EXCEEDED;
   if (late && where == IN_LINE) atomic_fetch_add_explicit(&party->failed[KNAP_FAILURE_OVERLOAD], 1, memory_order_relaxed);
   else if (late && where == NOWHERE) knap_account_failure(party, slot, reason, true);
   else if (knap_alerted(&party->bulkhead, ALERT_BREAKER)) knap_breaker_note(party, id, ATTEMPT_UNDECIDED);
}

void knap_give_up(knap_slot_t *slot, uint32_t serial, knap_status_t reason) {
   // Keeps the slot while both ends are told.
   if (!knap_slot_change(slot, serial, 0, WORD_ANSWERED, 0, WORD_REF, NULL)) return;
   knap_refusal_t refusal;
   const knap_target_t *target = atomic_load(&slot->target);
   knap_where_t where = knap_waiting_where(slot, serial);
   explain(target, where, reason, &refusal);
   if (answer(slot, serial, &refusal.result)) {
      if (target->route) account(target, slot, where, reason);
      knap_waiting_t *waiting = knap_waiting_take(slot, serial);
      if (waiting) { // so the callee's part is nobody's
         knap_waiting_free(waiting);
         knap_place_leave(slot, atomic_load(&slot->target));
         knap_end_unserved(slot);
      } else {
         knap_tell_cancel(slot, serial, reason);
      }
   }
   knap_slot_release(slot);
}

uint32_t knap_party_end_calls(knap_party_t *party, const knap_result_t *result) {
   knap_engine_t *engine = party->engine;
   uint32_t ended = 0;
   for (uint32_t number = 0; number < KNAP_MAX_CHUNKS; number++) {
      knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[number], memory_order_acquire);
      for (uint32_t i = 0; chunk && i < KNAP_CHUNK_SLOTS; i++) {
         knap_slot_t *slot = &chunk[i];
         uint32_t serial = WORD_SERIAL(knap_word(slot));
         if (!knap_slot_change(slot, serial, 0, WORD_ANSWERED | WORD_DONE, 0, WORD_REF, NULL)) continue;
         const knap_target_t *target = atomic_load(&slot->target);
         // Hooks are the host's own, and what waits has not begun.
         if (target->party == party && target->route && !atomic_load(&slot->waiting) && answer(slot, serial, result)) {
            knap_tell_cancel(slot, serial, KNAP_CANCELLED);
            ended++;
         }
         knap_slot_release(slot);
      }
   }
   return ended;
}

static const knap_result_t empty = {.size = sizeof(knap_result_t)};

static __attribute__((noinline)) knap_status_t complete_too_large(const knap_host_t *host, knap_call_t call, uint64_t size) {
   knap_refusal_t refusal;
   knap_refusal_make(&refusal, KNAP_RESOURCE_EXHAUSTED, RETRY_NEVER, true,
                     "the answer of %s has %llu bytes, more than the %d MiB that a body may have; it should send items",
                     knap_party_of(host)->name, (unsigned long long)size, KNAP_BODY_LARGEST >> 20);
   return knap_complete(host, call, &refusal.result);
}

knap_status_t knap_complete(const knap_host_t *host, knap_call_t call, const knap_result_t *result) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(party->engine, call);
   knap_result_t prefix;
   if (!result) result = &empty;
   else if (result->size < sizeof(knap_result_t)) { // an older plugin's shorter table
      prefix = empty;
      memcpy(&prefix, result, result->size);
      result = &prefix;
   }
   if (__builtin_expect(result->body.size > KNAP_BODY_LARGEST, 0)) return complete_too_large(host, call, result->body.size);
   uint64_t word = slot ? knap_word(slot) : 0;
   do {
      if (!slot || !knap_handle_fits(word, call) || !(word & WORD_REFS) || (word & WORD_DONE)) {
         atomic_fetch_add_explicit(&party->misused, 1, memory_order_relaxed);
         return KNAP_FAILED_PRECONDITION;
      }
      if (slot->target->party != party) return KNAP_PERMISSION_DENIED;
      if (__builtin_expect((word & WORD_AGAIN) && (result->status == KNAP_UNAVAILABLE || result->status == KNAP_RESOURCE_EXHAUSTED), 0)
          && knap_again_after(slot, call, result))
         return KNAP_OK;
      uint64_t next = word | WORD_DONE | WORD_ANSWERED;
      if (!(word & WORD_ANSWERED) && (word & WORD_USERS)) next += WORD_USER | WORD_REF;
      if (atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_seq_cst, memory_order_acquire)) break;
   } while (true);

   knap_cell_t *cell = slot->cell;
   knap_permit_return(party, cell);
   if (__builtin_expect(slot->marks.placed, 0)) knap_place_leave(slot, slot->target);
   knap_status_t status = KNAP_OK;
   if (word & WORD_ANSWERED) { // cancelled or too late
      atomic_fetch_add_explicit(&party->late, 1, memory_order_relaxed);
      knap_slot_release(slot);
      status = KNAP_CANCELLED;
   } else {
      knap_account(party, slot, word, result->status);
      knap_thread_t *self = knap_thread_self(party->engine);
      if (word & WORD_USERS) { // an item of this call is being delivered: the answer follows it
         slot->deferred = knap_answer_copy(result);
         knap_leave_caller(slot);
         knap_slot_release(slot);
      } else if ((word & WORD_REFS) == 2 * WORD_REF && knap_depth(self) < KNAP_MAX_DEPTH) { // nobody else can get at it
         knap_frame_enter(self, &slot->caller_party->callback);
         knap_tell_caller(slot, result, word);
         knap_slot_free(slot, word);
         knap_frame_leave(self);
      } else {
         knap_deliver(slot, result);
         knap_slot_release(slot);
      }
   }
   if (knap_alerted(&party->bulkhead, ALERT_QUEUE)) knap_turn(&party->bulkhead, cell);
   return status;
}

knap_status_t knap_cancel(const knap_host_t *host, knap_call_t call) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = call & HANDLE_CALLER ? knap_slot_of(party->engine, call & ~HANDLE_CALLER) : NULL;
   if (!slot || !knap_handle_fits(knap_word(slot), call)) return KNAP_FAILED_PRECONDITION;
   if (slot->caller_party != party) return KNAP_PERMISSION_DENIED;
   knap_give_up(slot, HANDLE_SERIAL(call), KNAP_CANCELLED);
   return KNAP_OK;
}

void knap_turn_away(knap_slot_t *slot, const knap_result_t *result) {
   if (!knap_slot_change(slot, WORD_SERIAL(knap_word(slot)), 0, WORD_ANSWERED, WORD_ANSWERED | WORD_DONE, 0, NULL))
      return knap_end_unserved(slot); // given up meanwhile
   knap_deliver(slot, result);
   knap_slot_release(slot);
}
