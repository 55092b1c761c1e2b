#include "engine.h"
#include <stdio.h>
#include <string.h>

// A call from its start to its end.

knap_call_t knap_callee_handle(const knap_slot_t *slot, uint64_t word) {
   return (word & ~0xffffffffull) | slot->index;
}

knap_call_t knap_caller_handle(const knap_slot_t *slot, uint64_t word) {
   return knap_callee_handle(slot, word) | HANDLE_CALLER;
}

static uint64_t word_of(const knap_slot_t *slot) { return atomic_load_explicit(&slot->word, memory_order_acquire); }

// ## Answers

static void tell_caller(knap_slot_t *slot, const knap_result_t *result, uint64_t word) {
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
   knap_frame_enter(self);
   tell_caller(slot, result, word_of(slot));
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
      knap_frame_enter(self);
      slot->callee->cancel(slot->callee_context, knap_callee_handle(slot, before), reason);
      knap_frame_leave(self);
   }
   knap_slot_release(slot);
}

void knap_give_up(knap_slot_t *slot, uint32_t serial, knap_status_t reason, const char *message) {
   // Keeps the slot while both ends are told.
   if (!knap_slot_change(slot, serial, 0, WORD_ANSWERED, 0, WORD_REF, NULL)) return;
   knap_result_t result = {.size = sizeof result, .status = reason, .message = {message, strlen(message)}};
   if (answer(slot, serial, &result)) knap_tell_cancel(slot, serial, reason);
   knap_slot_release(slot);
}

uint32_t knap_party_end_calls(knap_party_t *party, const knap_result_t *result) {
   knap_engine_t *engine = party->engine;
   uint32_t ended = 0;
   for (uint32_t number = 0; number < KNAP_MAX_CHUNKS; number++) {
      knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[number], memory_order_acquire);
      for (uint32_t i = 0; chunk && i < KNAP_CHUNK_SLOTS; i++) {
         knap_slot_t *slot = &chunk[i];
         uint32_t serial = WORD_SERIAL(word_of(slot));
         if (!knap_slot_change(slot, serial, 0, WORD_ANSWERED | WORD_DONE, 0, WORD_REF, NULL)) continue;
         const knap_target_t *target = atomic_load(&slot->target);
         // Hooks are the host's own, and what waits at a gate has not begun.
         if (target->party == party && target->route && !atomic_load(&slot->waits) && answer(slot, serial, result)) {
            knap_tell_cancel(slot, serial, KNAP_CANCELLED);
            ended++;
         }
         knap_slot_release(slot);
      }
   }
   return ended;
}

static const knap_result_t empty = {.size = sizeof(knap_result_t)};

knap_status_t knap_complete(const knap_host_t *host, knap_call_t call, const knap_result_t *result) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(party->engine, call);
   uint32_t serial = HANDLE_SERIAL(call);
   knap_result_t prefix;
   if (!result) result = &empty;
   else if (result->size < sizeof(knap_result_t)) { // an older plugin's shorter table
      prefix = empty;
      memcpy(&prefix, result, result->size);
      result = &prefix;
   }
   uint64_t word = slot ? word_of(slot) : 0;
   do {
      if (!slot || WORD_SERIAL(word) != serial || !(word & WORD_REFS) || (word & WORD_DONE)) {
         atomic_fetch_add_explicit(&party->misused, 1, memory_order_relaxed);
         return KNAP_FAILED_PRECONDITION;
      }
      if (slot->target->party != party) return KNAP_PERMISSION_DENIED;
      uint64_t next = word | WORD_DONE | WORD_ANSWERED;
      if (!(word & WORD_ANSWERED) && (word & WORD_USERS)) next += WORD_USER | WORD_REF;
      if (atomic_compare_exchange_weak_explicit(&slot->word, &word, next, memory_order_seq_cst, memory_order_acquire)) break;
   } while (true);

   knap_dismiss(party, slot->cell);
   if (word & WORD_ANSWERED) { // cancelled or too late
      atomic_fetch_add_explicit(&party->late, 1, memory_order_relaxed);
      knap_slot_release(slot);
      return KNAP_CANCELLED;
   }
   knap_account(party, result->status);
   if (word & WORD_USERS) { // an item of this call is being delivered: the answer follows it
      slot->deferred = knap_answer_copy(result);
      knap_leave_caller(slot);
      knap_slot_release(slot);
      return KNAP_OK;
   }
   knap_thread_t *self = knap_thread_self(party->engine);
   if ((word & WORD_REFS) == 2 * WORD_REF && knap_depth(self) < KNAP_MAX_DEPTH) { // nobody else can get at it
      knap_frame_enter(self);
      tell_caller(slot, result, word);
      knap_slot_free(slot, word);
      knap_frame_leave(self);
      return KNAP_OK;
   }
   knap_deliver(slot, result);
   knap_slot_release(slot);
   return KNAP_OK;
}

knap_status_t knap_cancel(const knap_host_t *host, knap_call_t call) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = call & HANDLE_CALLER ? knap_slot_of(party->engine, call & ~HANDLE_CALLER) : NULL;
   if (!slot || WORD_SERIAL(word_of(slot)) != HANDLE_SERIAL(call)) return KNAP_FAILED_PRECONDITION;
   if (slot->caller_party != party) return KNAP_PERMISSION_DENIED;
   knap_give_up(slot, HANDLE_SERIAL(call), KNAP_CANCELLED, "the caller cancelled the call");
   return KNAP_OK;
}

// ## Deadlines
// A call under its method's default time-out reads the clock only when somebody asks for the deadline or the callee
// has not completed when its function returns: inline calls never do.

uint64_t knap_deadline(knap_slot_t *slot) {
   uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_acquire);
   if (deadline != DEADLINE_LAZY) return deadline;
   uint64_t computed = knap_now_ns() + slot->target->timeout_ns;
   return atomic_compare_exchange_strong(&slot->deadline_ns, &deadline, computed) ? computed : deadline;
}

// ## Starting

// What a call takes from the call it serves.
static knap_status_t inherit(knap_slot_t *slot, knap_party_t *caller, knap_call_t call) {
   knap_slot_t *parent = call & HANDLE_CALLER ? NULL : knap_slot_of(caller->engine, call);
   if (!parent || !knap_slot_change(parent, HANDLE_SERIAL(call), 0, WORD_DONE, 0, WORD_REF, NULL))
      return KNAP_INVALID_ARGUMENT;
   if (parent->target->party != caller) {
      knap_slot_release(parent);
      return KNAP_INVALID_ARGUMENT;
   }
   uint64_t limit = knap_deadline(parent), own = atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed);
   if (limit) {
      if (own == DEADLINE_LAZY) own = knap_now_ns() + slot->target->timeout_ns;
      if (own == DEADLINE_NONE || limit < own) own = limit;
      atomic_store_explicit(&slot->deadline_ns, own, memory_order_relaxed);
   }
   slot->parent = call;
   slot->principal = knap_buffer_share(parent->principal ? parent->principal : parent->caller_party->principal);
   slot->trace = knap_buffer_share(parent->trace);
   slot->traced = true;
   bool stopped = word_of(parent) & WORD_CANCELLED;
   knap_slot_release(parent);
   return stopped ? KNAP_CANCELLED : KNAP_OK;
}

static knap_status_t take_context(knap_slot_t *slot, knap_party_t *caller, const knap_outgoing_t *outgoing) {
   atomic_store_explicit(&slot->deadline_ns,
                         outgoing->deadline_ns ? outgoing->deadline_ns
                                               : slot->target->timeout_ns ? DEADLINE_LAZY : DEADLINE_NONE,
                         memory_order_relaxed);
   if (outgoing->parent) return inherit(slot, caller, outgoing->parent);
   slot->parent = 0;
   if (!outgoing->principal.size && !outgoing->trace.size) return KNAP_OK;
   if (outgoing->principal.size && !caller->assert_principal) return KNAP_PERMISSION_DENIED;
   slot->traced = true;
   if (outgoing->principal.size) slot->principal = knap_buffer_copy(outgoing->principal.data, outgoing->principal.size);
   if (outgoing->trace.size) slot->trace = knap_buffer_copy(outgoing->trace.data, outgoing->trace.size);
   return KNAP_OK;
}

// Runs the method on this thread. The callee's part of the slot keeps it alive until it completes.
void knap_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   const knap_target_t *target = slot->target;
   uint64_t word = word_of(slot);
   if (word & WORD_ANSWERED) { // given up while it waited
      knap_complete(&target->party->host, knap_callee_handle(slot, word), NULL);
      return;
   }
   knap_request_t request = {.size = sizeof request, .method = target->index,
                             .call = knap_callee_handle(slot, word), .body = body, .buffer = buffer};
   knap_thread_t *self = knap_thread_self(target->party->engine);
   knap_frame_enter(self);
   target->call(target->instance, &request);
   knap_frame_leave(self);
}

// Tells the caller that the call did not run. Its slot was never seen by a callee.
static void refuse(knap_slot_t *slot, const knap_result_t *refusal) {
   if (!knap_slot_change(slot, WORD_SERIAL(word_of(slot)), 0, WORD_ANSWERED, WORD_ANSWERED | WORD_DONE, 0, NULL)) {
      // Given up meanwhile: only the callee's part is left to give back.
      knap_slot_change(slot, WORD_SERIAL(word_of(slot)), 0, WORD_DONE, WORD_DONE, 0, NULL);
      knap_slot_release(slot);
      return;
   }
   knap_deliver(slot, refusal);
   knap_slot_release(slot);
}

// Ends a call that no callee ever saw, in its stead.
void knap_turn_away(knap_slot_t *slot, knap_status_t status, const char *message) {
   knap_result_t result = {.size = sizeof result, .status = status, .message = {message, strlen(message)}};
   refuse(slot, &result);
}

static void dispatch(knap_thread_t *self, knap_slot_t *slot, knap_bytes_t bytes, knap_buffer_t *buffer) {
   const knap_target_t *target = slot->target;
   uint32_t serial = WORD_SERIAL(word_of(slot));
   bool blocking = target->flags & KNAP_ROUTE_BLOCKING;
   if (blocking || knap_depth(self) >= KNAP_MAX_DEPTH) {
      knap_slot_change(slot, serial, 0, 0, 0, WORD_REF, NULL);
      if (blocking) {
         if (knap_pool_run(slot, bytes, buffer)) return;
      } else {
         knap_bytes_t kept;
         knap_buffer_t *body = knap_buffers.keep(NULL, bytes, NULL, &kept);
         if (body) return knap_defer(self, (knap_deferred_t){.slot = slot, .kind = DEFER_CALL, .body = body});
      }
      knap_result_t full = {.size = sizeof full, .status = KNAP_RESOURCE_EXHAUSTED,
                            .message = {"no thread or memory to run the call", 35}};
      knap_complete(&target->party->host, (uint64_t)serial << 32 | slot->index, &full);
      knap_slot_release(slot);
      return;
   }
   knap_request_t request = {.size = sizeof request, .method = target->index,
                             .call = (uint64_t)serial << 32 | slot->index, .body = bytes, .buffer = buffer};
   knap_frame_enter(self);
   target->call(target->instance, &request);
   knap_frame_leave(self);
}

// Passes the bulkhead, the breaker, a gate and the interceptors, and is called. `target` is the slot's.
static inline void proceed(knap_thread_t *self, knap_slot_t *slot, const knap_target_t *target, knap_bytes_t body,
                           knap_buffer_t *buffer) {
   knap_result_t refusal;
   for (int round = 0;; round++) {
      knap_cell_t *cell = NULL;
      if (__builtin_expect(round > 1000, 0)) // its party was neither replaced nor opened again
         return knap_turn_away(slot, KNAP_UNAVAILABLE, "the plugin is not active; see `knap plugins list`");
      knap_admission_t admission = knap_admit(target->party, self, slot, &cell, &refusal);
      if (__builtin_expect(admission == ADMITTED, 1)) {
         // Whoever provides the route anew and then sees no call in flight on this party knows that none comes after.
         if (__builtin_expect(atomic_load_explicit(&target->route->target, memory_order_seq_cst) == target, 1)) {
            slot->cell = cell;
            break;
         }
         knap_dismiss(target->party, cell);
      } else if (admission == REFUSED) {
         return refuse(slot, &refusal);
      } else {
         switch (knap_gate_wait(target->party, slot, body, buffer)) {
            case WAITS: return;
            case FULL: return knap_turn_away(slot, KNAP_RESOURCE_EXHAUSTED,
                                             "too many calls wait for the plugin to be replaced; try again later");
            case MOVED: break;
         }
      }
      target = atomic_load_explicit(&target->route->target, memory_order_acquire);
      if (!target) return knap_turn_away(slot, KNAP_UNAVAILABLE, "the plugin stopped while the call waited for it");
      atomic_store_explicit(&slot->target, target, memory_order_relaxed);
   }
   const knap_hook_list_t *hooks = atomic_load_explicit(&self->engine->hooks, memory_order_acquire);
   if (__builtin_expect(hooks != NULL, 0)) {
      if (knap_intercept(hooks, slot, body, &refusal) != KNAP_OK) {
         knap_dismiss(target->party, slot->cell);
         atomic_fetch_add_explicit(&target->party->refused, 1, memory_order_relaxed);
         return refuse(slot, &refusal);
      }
      if (hooks->observes) knap_observe_begin(hooks, slot, knap_callee_handle(slot, word_of(slot)));
   }
   dispatch(self, slot, body, buffer);
}

// What is left to do when the callee's function returned, or the call waits: a deadline that has not ended it yet.
static inline void watch_deadline(knap_slot_t *slot, uint32_t serial) {
   // Another thread may be completing it, or it may serve another call by now: arming checks the serial.
   if (WORD_SERIAL(word_of(slot)) == serial && !(word_of(slot) & (WORD_ANSWERED | WORD_DONE))
       && atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed))
      knap_timer_arm(slot, serial);
}

// Goes on with a call that waited at a gate; its target may have changed.
void knap_proceed(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   atomic_store(&slot->waits, false);
   uint64_t word = word_of(slot);
   if (word & WORD_ANSWERED) { // given up while it waited
      if (knap_slot_change(slot, WORD_SERIAL(word), 0, WORD_DONE, WORD_DONE, 0, NULL)) knap_slot_release(slot);
      return;
   }
   const knap_target_t *target = atomic_load_explicit(&slot->target, memory_order_relaxed);
   target = atomic_load_explicit(&target->route->target, memory_order_acquire);
   if (!target) return knap_turn_away(slot, KNAP_UNAVAILABLE, "the plugin stopped while the call waited for it");
   atomic_store_explicit(&slot->target, target, memory_order_relaxed);
   proceed(knap_thread_self(slot->caller_party->engine), slot, target, body, buffer);
   watch_deadline(slot, WORD_SERIAL(word));
}

// Everything after the target is known. Hooks need no permit and pass every gate.
static knap_status_t start(knap_party_t *caller, const knap_target_t *target, const knap_outgoing_t *outgoing,
                           const knap_origin_t *origin, bool hook, knap_call_t *call) {
   knap_thread_t *self = knap_thread_self(caller->engine);
   knap_slot_t *slot = knap_slot_take(self);
   if (!slot) return KNAP_RESOURCE_EXHAUSTED;
   if (hook) {
      slot->hook = *target;
      target = &slot->hook;
   }
   atomic_store_explicit(&slot->target, target, memory_order_relaxed);
   slot->caller = outgoing->caller;
   slot->caller_context = outgoing->context;
   slot->caller_party = caller;
   slot->cell = NULL;
   slot->attempts = 0;
   atomic_store_explicit(&slot->credit_to_caller, (int)outgoing->credit, memory_order_relaxed);
   atomic_store_explicit(&slot->credit_to_callee, 0, memory_order_relaxed);
   knap_status_t status = take_context(slot, caller, outgoing);
   if (status != KNAP_OK && status != KNAP_CANCELLED) { // the caller's mistake: nothing was called
      slot->word = slot->word | WORD_REF; // as if in use, so that freeing moves the serial on
      knap_slot_free(slot, slot->word);
      return status;
   }
   if (origin) {
      slot->origin = knap_buffer_share(origin->caller);
      slot->principal = knap_buffer_share(origin->principal);
      slot->trace = knap_buffer_share(origin->trace);
      slot->traced = true;
   }
   uint64_t word = (slot->word & ~0xffffffffull) | 2 * WORD_REF
                   | (outgoing->flags & KNAP_OUTGOING_STREAMS ? 0 : WORD_INPUT_CLOSED);
   uint32_t serial = WORD_SERIAL(word);
   atomic_store_explicit(&slot->word, word, memory_order_release);
   if (call) *call = knap_caller_handle(slot, word);

   if (status == KNAP_CANCELLED)
      return knap_turn_away(slot, KNAP_CANCELLED, "the call that this one serves was cancelled"), KNAP_OK;
   uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed);
   if (deadline && deadline != DEADLINE_LAZY && deadline <= knap_now_ns())
      return knap_turn_away(slot, KNAP_DEADLINE_EXCEEDED, "the deadline had passed before the call began"), KNAP_OK;
   if (hook) {
      atomic_fetch_sub_explicit(&target->party->common, 1, memory_order_relaxed); // given back by complete
      dispatch(self, slot, outgoing->body, outgoing->buffer);
   } else {
      proceed(self, slot, target, outgoing->body, outgoing->buffer);
   }
   watch_deadline(slot, serial);
   return KNAP_OK;
}

static knap_route_t *bound(knap_party_t *party, uint64_t binding) {
   if (binding == 0 || binding > (uint64_t)KNAP_BIND_CHUNK * KNAP_BIND_CHUNKS) return NULL;
   _Atomic(knap_route_t *) *chunk =
      atomic_load_explicit(&party->bindings[(binding - 1) / KNAP_BIND_CHUNK], memory_order_acquire);
   return chunk ? atomic_load_explicit(&chunk[(binding - 1) % KNAP_BIND_CHUNK], memory_order_acquire) : NULL;
}

static const knap_outgoing_t no_outgoing = {.size = sizeof(knap_outgoing_t)};

// Reads an older caller's shorter table.
static const knap_outgoing_t *widened(const knap_outgoing_t *outgoing, knap_outgoing_t *copy) {
   if (outgoing->size >= sizeof *outgoing) return outgoing;
   *copy = no_outgoing;
   memcpy(copy, outgoing, outgoing->size);
   return copy;
}

knap_status_t knap_engine_call(const knap_host_t *host, uint64_t binding, const knap_outgoing_t *outgoing,
                               knap_call_t *call) {
   return knap_engine_call_for(host, binding, outgoing, NULL, call);
}

knap_status_t knap_engine_call_for(const knap_host_t *host, uint64_t binding, const knap_outgoing_t *outgoing,
                                   const knap_origin_t *origin, knap_call_t *call) {
   knap_party_t *caller = knap_party_of(host);
   knap_outgoing_t copy;
   outgoing = widened(outgoing, &copy);
   knap_route_t *route = bound(caller, binding);
   if (!route || !outgoing->caller) return KNAP_INVALID_ARGUMENT;
   const knap_target_t *target = atomic_load_explicit(&route->target, memory_order_acquire);
   if (!target) {
      char text[256];
      int size = snprintf(text, sizeof text, "no active plugin provides %s; see `knap plugins list`", route->name);
      knap_result_t result = {.size = sizeof result, .status = KNAP_UNAVAILABLE, .message = {text, (uint64_t)size}};
      if (result.message.size >= sizeof text) result.message.size = sizeof text - 1;
      if (call) *call = 0;
      outgoing->caller->complete(outgoing->context, 0, &result);
      return KNAP_OK;
   }
   return start(caller, target, outgoing, origin, false, call);
}

struct hook { void (*run)(void *, knap_call_t); void *instance; };

static void run_hook(void *context, const knap_request_t *request) {
   struct hook hook;
   (void)context;
   memcpy(&hook, request->body.data, sizeof hook);
   hook.run(hook.instance, request->call);
}

knap_status_t knap_engine_hook(knap_party_t *caller, knap_party_t *party, void (*run)(void *, knap_call_t),
                               void *instance, const char *name, const knap_outgoing_t *outgoing, knap_call_t *call) {
   struct hook hook = {run, instance};
   knap_outgoing_t with = *outgoing;
   with.body = (knap_bytes_t){(const uint8_t *)&hook, sizeof hook};
   // On the pool: a hook that blocks, or never returns, holds a thread of its own and nobody else's.
   knap_target_t target = {.call = run_hook, .party = party, .name = name, .flags = KNAP_ROUTE_BLOCKING};
   return start(caller, &target, &with, NULL, true, call);
}
