#include "hot.h"

// Items, credit and half-close, and waiting.

static bool counts(uint32_t kind) { return kind != KNAP_ITEM_PROGRESS && kind != KNAP_ITEM_LOG; }

// The end that `call` names, if it belongs to this party.
static knap_slot_t *end_of(const knap_host_t *host, knap_call_t call) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = knap_slot_of(party->engine, call & ~HANDLE_CALLER);
   if (!slot || !knap_handle_fits(knap_word(slot), call)) return NULL;
   return (call & HANDLE_CALLER ? slot->caller_party : slot->target->party) == party ? slot : NULL;
}

static void tell_close(knap_slot_t *slot, uint32_t serial) {
   uint64_t before;
   if (!knap_enter_callee(slot, serial)) return;
   if (knap_slot_change(slot, serial, WORD_INPUT_CLOSED, WORD_CLOSE_TOLD, WORD_CLOSE_TOLD, 0, &before)) {
      knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
      knap_frame_enter(self, knap_callee_frame(slot));
      slot->callee->half_close(slot->callee_context, knap_callee_handle(slot, before));
      knap_frame_leave(self);
   }
   knap_slot_release(slot);
}

knap_status_t knap_listen(const knap_host_t *host, knap_call_t call, const knap_callee_t *callee, void *context) {
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : end_of(host, call);
   uint32_t serial = HANDLE_SERIAL(call);
   // Listening twice is refused before anything is written: only the callee's own thread gets here.
   uint64_t word = slot ? knap_word(slot) : 0;
   if (!slot || (word & (WORD_LISTENING | WORD_DONE))) return KNAP_FAILED_PRECONDITION;
   slot->callee = callee;
   slot->callee_context = context;
   if (!knap_slot_change(slot, serial, 0, WORD_LISTENING | WORD_DONE, WORD_LISTENING, 0, &word))
      return KNAP_FAILED_PRECONDITION;
   if (word & WORD_CANCELLED) {
      uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed);
      bool late = deadline && deadline != DEADLINE_LAZY && deadline <= knap_now_ns();
      knap_tell_cancel(slot, serial, late ? KNAP_DEADLINE_EXCEEDED : KNAP_CANCELLED);
   }
   if (word & WORD_INPUT_CLOSED) tell_close(slot, serial);
   return KNAP_OK;
}

void knap_tell_credit(knap_slot_t *slot, uint32_t serial, bool caller) {
   uint64_t waits = caller ? WORD_CALLER_WAITS : WORD_CALLEE_WAITS, before;
   if (!(caller ? knap_enter_caller(slot, serial) : knap_enter_callee(slot, serial))) return;
   // Clearing a bit by subtraction: the change is refused unless it is set.
   if (knap_slot_change(slot, serial, waits, 0, 0, -waits, &before)) {
      knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
      knap_frame_enter(self, caller ? &slot->caller_party->callback : knap_callee_frame(slot));
      if (caller) slot->caller->credit(slot->caller_context, knap_caller_handle(slot, before));
      else slot->callee->credit(slot->callee_context, knap_callee_handle(slot, before));
      knap_frame_leave(self);
   }
   if (caller) knap_leave_caller(slot);
   else knap_slot_release(slot);
}

// Takes one credit, or notes that the sender waits for it.
static bool take_credit(knap_slot_t *slot, uint32_t serial, bool to_caller) {
   atomic_int *credit = to_caller ? &slot->credit_to_caller : &slot->credit_to_callee;
   uint64_t waits = to_caller ? WORD_CALLEE_WAITS : WORD_CALLER_WAITS;
   for (;;) {
      int have = atomic_load_explicit(credit, memory_order_seq_cst);
      while (have > 0)
         if (atomic_compare_exchange_weak_explicit(credit, &have, have - 1, memory_order_seq_cst, memory_order_seq_cst))
            return true;
      knap_slot_change(slot, serial, 0, waits, waits, 0, NULL);
      if (atomic_load_explicit(credit, memory_order_seq_cst) <= 0) return false;
      // Granted in between: if nobody took the note to call back, take it back and try again.
      if (!knap_slot_change(slot, serial, waits, 0, 0, -waits, NULL)) return false;
   }
}

static knap_status_t send_to_caller(knap_slot_t *slot, uint32_t serial, const knap_item_t *item) {
   if (!knap_enter_caller(slot, serial)) return KNAP_CANCELLED;
   knap_status_t status = KNAP_OK;
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   if (knap_depth(self) >= KNAP_MAX_DEPTH) { // as if there were no credit; told when the stack is empty
      if (counts(item->kind)) {
         status = KNAP_RESOURCE_EXHAUSTED;
         knap_slot_change(slot, serial, 0, WORD_CALLEE_WAITS, WORD_CALLEE_WAITS, 0, NULL);
         if (knap_slot_change(slot, serial, 0, 0, 0, WORD_REF, NULL))
            knap_defer(self, (knap_deferred_t){.slot = slot, .kind = DEFER_CREDIT_CALLEE});
      }
   } else if (counts(item->kind) && !take_credit(slot, serial, true)) {
      status = KNAP_RESOURCE_EXHAUSTED;
   } else {
      // What the caller has seen part of is not made again.
      if (knap_word(slot) & WORD_AGAIN) knap_slot_change(slot, serial, WORD_AGAIN, 0, 0, -WORD_AGAIN, NULL);
      knap_frame_enter(self, &slot->caller_party->callback);
      slot->caller->item(slot->caller_context, (uint64_t)serial << 32 | HANDLE_CALLER | slot->index, item);
      knap_frame_leave(self);
   }
   knap_leave_caller(slot);
   return status;
}

static knap_status_t send_to_callee(knap_slot_t *slot, uint32_t serial, const knap_item_t *item) {
   uint64_t word = knap_word(slot);
   if (WORD_SERIAL(word) != serial || (word & (WORD_DONE | WORD_ANSWERED))) return KNAP_CANCELLED;
   if (word & WORD_INPUT_CLOSED) return KNAP_FAILED_PRECONDITION;
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   if (knap_depth(self) >= KNAP_MAX_DEPTH) {
      if (!counts(item->kind)) return KNAP_OK;
      knap_slot_change(slot, serial, 0, WORD_CALLER_WAITS, WORD_CALLER_WAITS, 0, NULL);
      if (knap_slot_change(slot, serial, 0, 0, 0, WORD_REF, NULL))
         knap_defer(self, (knap_deferred_t){.slot = slot, .kind = DEFER_CREDIT_CALLER});
      return KNAP_RESOURCE_EXHAUSTED;
   }
   if (counts(item->kind) && !take_credit(slot, serial, false)) return KNAP_RESOURCE_EXHAUSTED;
   if (!knap_enter_callee(slot, serial)) return word & WORD_LISTENING ? KNAP_CANCELLED : KNAP_OK;
   knap_frame_enter(self, knap_callee_frame(slot));
   slot->callee->item(slot->callee_context, knap_callee_handle(slot, word), item);
   knap_frame_leave(self);
   knap_slot_release(slot);
   return KNAP_OK;
}

knap_status_t knap_send(const knap_host_t *host, knap_call_t call, const knap_item_t *item) {
   knap_slot_t *slot = end_of(host, call);
   if (!slot) return KNAP_CANCELLED;
   if (item->kind < KNAP_ITEM_DATA || item->kind > KNAP_ITEM_REPLY || item->body.size > KNAP_BODY_LARGEST)
      return KNAP_INVALID_ARGUMENT;
   uint32_t serial = HANDLE_SERIAL(call);
   return call & HANDLE_CALLER ? send_to_callee(slot, serial, item) : send_to_caller(slot, serial, item);
}

knap_status_t knap_half_close(const knap_host_t *host, knap_call_t call) {
   knap_slot_t *slot = call & HANDLE_CALLER ? end_of(host, call) : NULL;
   if (!slot) return KNAP_FAILED_PRECONDITION;
   uint32_t serial = HANDLE_SERIAL(call);
   if (!knap_slot_change(slot, serial, 0, WORD_DONE | WORD_INPUT_CLOSED, WORD_INPUT_CLOSED, 0, NULL))
      return KNAP_FAILED_PRECONDITION;
   tell_close(slot, serial);
   return KNAP_OK;
}

// Passes a grant on to an end that relays the call.
static void tell_relay(knap_slot_t *slot, uint32_t serial, bool by_caller, uint32_t items) {
   if (by_caller) {
      uint64_t granted = atomic_fetch_add_explicit(&slot->granted, items, memory_order_seq_cst) + items;
      if (!knap_enter_callee(slot, serial)) return;
      if (slot->callee->size >= sizeof(knap_callee_relay_t))
         ((const knap_callee_relay_t *)slot->callee)
            ->granted(slot->callee_context, knap_callee_handle(slot, knap_word(slot)), granted);
      knap_slot_release(slot);
   } else if (slot->caller->size >= sizeof(knap_caller_relay_t) && knap_enter_caller(slot, serial)) {
      ((const knap_caller_relay_t *)slot->caller)
         ->granted(slot->caller_context, (uint64_t)serial << 32 | HANDLE_CALLER | slot->index, items);
      knap_leave_caller(slot);
   }
}

knap_status_t knap_grant(const knap_host_t *host, knap_call_t call, uint32_t items) {
   knap_slot_t *slot = end_of(host, call);
   if (!slot) return KNAP_CANCELLED;
   bool by_caller = call & HANDLE_CALLER;
   uint32_t serial = HANDLE_SERIAL(call);
   if (!knap_slot_change(slot, serial, 0, WORD_DONE, 0, WORD_REF, NULL)) return KNAP_CANCELLED;
   atomic_int *credit = by_caller ? &slot->credit_to_caller : &slot->credit_to_callee;
   int have = atomic_load_explicit(credit, memory_order_relaxed), more;
   do more = items > (uint32_t)(INT32_MAX - have) ? INT32_MAX : have + (int)items; // saturates
   while (!atomic_compare_exchange_weak_explicit(credit, &have, more, memory_order_seq_cst, memory_order_relaxed));
   uint64_t waits = by_caller ? WORD_CALLEE_WAITS : WORD_CALLER_WAITS;
   tell_relay(slot, serial, by_caller, items);
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   if (atomic_load_explicit(&slot->word, memory_order_seq_cst) & waits) {
      if (knap_depth(self) < KNAP_MAX_DEPTH) knap_tell_credit(slot, serial, !by_caller);
      else if (knap_slot_change(slot, serial, 0, WORD_DONE, 0, WORD_REF, NULL))
         knap_defer(self, (knap_deferred_t){.slot = slot, .kind = by_caller ? DEFER_CREDIT_CALLEE : DEFER_CREDIT_CALLER});
   }
   knap_slot_release(slot);
   return KNAP_OK;
}

// The slot's serial moves on after the last callback has returned.
static bool is_over(const knap_slot_t *slot, uint32_t serial) { return WORD_SERIAL(knap_word(slot)) != serial; }

// A relay must not hold the call while it looks out for its end, so it is held itself.
knap_status_t knap_wait(const knap_host_t *host, knap_call_t call) {
   knap_slot_t *slot = call & HANDLE_CALLER ? end_of(host, call) : NULL;
   uint32_t serial = HANDLE_SERIAL(call);
   if (!slot) return KNAP_OK;
   if (!knap_enter_callee(slot, serial)) return is_over(slot, serial) ? KNAP_OK : KNAP_UNAVAILABLE;
   const knap_callee_relay_t *relay = (const knap_callee_relay_t *)slot->callee;
   void *context = slot->callee_context;
   bool held = relay->callee.size >= sizeof *relay && relay->hold(context);
   knap_slot_release(slot);
   if (held) relay->wait(context);
   return is_over(slot, serial) ? KNAP_OK : KNAP_UNAVAILABLE;
}
