#include "hot.h"
#include <string.h>

// How a call begins: what it takes from the call it serves, who lets it in, and where it runs.

enum { MOST_ROUNDS = 1000 };

// ## Deadlines
// A call under its method's default time-out reads the clock only when somebody asks for the deadline or the callee
// has not completed when its function returns: inline calls never do.

uint64_t knap_deadline(knap_slot_t *slot) {
   uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_acquire);
   if (deadline != DEADLINE_LAZY) return deadline;
   uint64_t computed = knap_now_ns() + slot->target->timeout_ns;
   return atomic_compare_exchange_strong(&slot->deadline_ns, &deadline, computed) ? computed : deadline;
}

// What is left to do when the callee's function returned, or the call waits: a deadline that has not ended it yet.
static inline void watch_deadline(knap_engine_t *engine, knap_slot_t *slot, uint32_t serial, uint64_t timeout_ns) {
   // Another thread may be completing it, or it may serve another call by now: arming checks the serial.
   if (WORD_SERIAL(knap_word(slot)) == serial && !(knap_word(slot) & (WORD_ANSWERED | WORD_DONE))
       && atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed))
      knap_timer_arm(engine, slot, serial, timeout_ns);
}

// ## Running

// Runs the method on this thread. The callee's part of the slot keeps it alive until it completes.
void knap_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   const knap_target_t *target = slot->target;
   uint64_t word = knap_word(slot);
   if (word & WORD_ANSWERED) { // given up while it waited
      knap_complete(&target->party->host, knap_callee_handle(slot, word), NULL);
      return;
   }
   knap_request_t request = {.size = sizeof request, .method = target->index,
                             .call = knap_callee_handle(slot, word), .body = body, .buffer = buffer};
   knap_thread_t *self = knap_thread_self(target->party->engine);
   knap_frame_enter(self, knap_callee_frame(slot));
   target->call(target->instance, &request);
   knap_frame_leave(self);
}

static void dispatch(knap_thread_t *self, knap_slot_t *slot, knap_bytes_t bytes, knap_buffer_t *buffer) {
   const knap_target_t *target = slot->target;
   bool blocking = target->flags & KNAP_ROUTE_BLOCKING;
   if (blocking || knap_depth(self) >= KNAP_MAX_DEPTH) {
      if (blocking) {
         if (knap_pool_run(slot, bytes, buffer, false)) return;
      } else {
         knap_bytes_t kept;
         knap_buffer_t *body = knap_buffers.keep(NULL, bytes, NULL, &kept);
         if (body) return knap_defer(self, (knap_deferred_t){.slot = slot, .kind = DEFER_CALL, .body = body});
      }
      knap_refusal_t full;
      knap_refusal_make(&full, KNAP_RESOURCE_EXHAUSTED, RETRY_LATER, false, "no memory to run %s; try again later", target->name);
      knap_complete(&target->party->host, knap_callee_handle(slot, knap_word(slot)), &full.result);
      return;
   }
   knap_request_t request = {.size = sizeof request, .method = target->index,
                             .call = knap_callee_handle(slot, knap_word(slot)), .body = bytes, .buffer = buffer};
   knap_frame_enter(self, target);
   target->call(target->instance, &request);
   knap_frame_leave(self);
}

// ## Admission

// Who serves the call's route now: its stand-in where nobody else does or the call was passed on to it.
static const knap_target_t *current_target(knap_slot_t *slot, knap_route_t *route) {
   const knap_target_t *target = atomic_load_explicit(&route->target, memory_order_acquire);
   if (target && !slot->marks.fell_back) return target;
   const knap_target_t *fallback = atomic_load_explicit(&route->fallback, memory_order_acquire);
   if (!fallback) return target;
   slot->marks.fell_back = true;
   return fallback;
}

static inline bool is_current(const knap_target_t *target) {
   const knap_route_t *route = target->route;
   // Whoever provides the route anew and then sees no call in flight on this party knows that none comes after.
   return __builtin_expect(atomic_load_explicit(&route->target, memory_order_seq_cst) == target, 1)
          || (target->is_fallback && atomic_load_explicit(&route->fallback, memory_order_seq_cst) == target);
}

static void nobody_serves(knap_slot_t *slot) {
   const knap_target_t *target = atomic_load_explicit(&slot->target, memory_order_relaxed);
   knap_refusal_t refusal;
   knap_refusal_make(&refusal, KNAP_UNAVAILABLE, RETRY_LATER, false,
                     "%s stopped while the call waited, and nobody else serves %s; see `knap plugins info %s`",
                     target->party->name, target->name, target->party->name);
   knap_refuse(target->party, &refusal);
   knap_turn_away(slot, &refusal.result);
}

// What only some calls need before they run.
static void prepare_again(knap_slot_t *slot, const knap_target_t *target, knap_bytes_t body, knap_buffer_t *buffer) {
   if (target->is_fallback) atomic_fetch_add_explicit(&target->party->stood_in, 1, memory_order_relaxed);
   bool falls_back = (target->flags & KNAP_ROUTE_IDEMPOTENT) && !target->is_fallback
                     && atomic_load_explicit(&target->route->fallback, memory_order_relaxed);
   if (target->retries || falls_back) knap_keep_body(slot, body, buffer);
}

// Passes the bulkhead, the breaker, a gate and the interceptors, and is called. `target` is the slot's; `permitted`: it
// has its party's permit, of that cell.
static inline void proceed(knap_thread_t *self, knap_slot_t *slot, const knap_target_t *target, knap_bytes_t body,
                           knap_buffer_t *buffer, bool permitted, knap_cell_t *cell) {
   knap_refusal_t refusal;
   for (int round = 0;; round++) {
      if (__builtin_expect(round > MOST_ROUNDS, 0)) return nobody_serves(slot); // it was neither replaced nor opened again
      knap_admission_t admission =
         permitted ? knap_admit_slowly(self, slot, target, true, &cell, body, buffer, &refusal)
                   : knap_admit(self, slot, target, &cell, body, buffer, &refusal);
      permitted = false;
      if (__builtin_expect(admission == ADMITTED, 1)) {
         if (is_current(target)) {
            slot->cell = cell;
            break;
         }
         knap_dismiss(slot, target, cell);
      } else if (admission == WAITING) {
         return;
      } else if (admission == REFUSED && is_current(target)) {
         // Who is full is not tried again, which would make it fuller.
         if (!knap_again(slot, false, refusal.result.status == KNAP_UNAVAILABLE && !refusal.by_breaker, body, buffer))
            knap_turn_away(slot, &refusal.result);
         return;
      } else if (admission == GATED) {
         switch (knap_gate_wait(target->party, slot, body, buffer)) {
            case WAITS: return;
            case FULL:
               knap_refusal_make(&refusal, KNAP_RESOURCE_EXHAUSTED, RETRY_LATER, false,
                                 "too many calls wait for %s to be replaced; try again later", target->party->name);
               knap_refuse(target->party, &refusal);
               if (!knap_again(slot, false, false, body, buffer)) knap_turn_away(slot, &refusal.result);
               return;
            case MOVED: break;
         }
      }
      const knap_target_t *now = current_target(slot, target->route);
      if (!now) return nobody_serves(slot);
      target = now;
      atomic_store_explicit(&slot->target, target, memory_order_relaxed);
   }
   const knap_hook_list_t *hooks = atomic_load_explicit(&self->engine->hooks, memory_order_acquire);
   if (__builtin_expect(hooks != NULL, 0)) {
      if (knap_intercept(hooks, slot, body, &refusal.result) != KNAP_OK) {
         knap_dismiss(slot, target, cell);
         atomic_fetch_add_explicit(&target->party->refused, 1, memory_order_relaxed);
         return knap_turn_away(slot, &refusal.result);
      }
      if (hooks->observes && !slot->observed) knap_observe_begin(hooks, slot, knap_callee_handle(slot, knap_word(slot)));
   }
   if (__builtin_expect((target->flags & (TARGET_RETRIES | TARGET_FALLBACK))
                        || atomic_load_explicit(&target->route->fallback, memory_order_relaxed), 0))
      prepare_again(slot, target, body, buffer);
   dispatch(self, slot, body, buffer);
}

void knap_proceed(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer, knap_bulkhead_t *got, knap_cell_t *cell) {
   uint32_t serial = WORD_SERIAL(knap_word(slot));
   const knap_target_t *old = atomic_load_explicit(&slot->target, memory_order_relaxed);
   bool permitted = got && got == &old->party->bulkhead;
   if (got && !permitted) slot->marks.placed = true;
   const knap_target_t *target = NULL;
   bool given_up = knap_word(slot) & WORD_ANSWERED;
   if (!given_up) target = current_target(slot, old->route);
   if (target != old) { // what it has is of no use
      if (permitted) knap_dismiss(slot, old, cell);
      else knap_place_leave(slot, old);
      permitted = false;
   }
   if (given_up) return knap_end_unserved(slot);
   if (!target) return nobody_serves(slot);
   atomic_store_explicit(&slot->target, target, memory_order_relaxed);
   knap_engine_t *engine = target->party->engine;
   proceed(knap_thread_self(engine), slot, target, body, buffer, permitted, cell);
   watch_deadline(engine, slot, serial, target->timeout_ns);
}

// ## Starting

// What a call takes from the call it serves.
static knap_status_t inherit(knap_slot_t *slot, knap_party_t *caller, knap_call_t call) {
   knap_slot_t *parent = call & HANDLE_CALLER ? NULL : knap_slot_of(caller->engine, call);
   uint64_t word;
   if (!parent || !knap_slot_change(parent, HANDLE_SERIAL(call), 0, WORD_DONE, 0, WORD_REF, &word))
      return KNAP_INVALID_ARGUMENT;
   if (parent->target->party != caller || !knap_handle_fits(word, call)) {
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
   slot->holds = true;
   bool stopped = knap_word(parent) & WORD_CANCELLED;
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
   slot->holds = true;
   if (outgoing->principal.size) slot->principal = knap_buffer_copy(outgoing->principal.data, outgoing->principal.size);
   if (outgoing->trace.size) slot->trace = knap_buffer_copy(outgoing->trace.data, outgoing->trace.size);
   return KNAP_OK;
}

static void turn_away(knap_slot_t *slot, knap_status_t status, const char *message) {
   knap_refusal_t refusal;
   knap_refusal_make(&refusal, status, RETRY_NEVER, false, "%s", message);
   knap_turn_away(slot, &refusal.result);
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
   slot->marks = (knap_marks_t){.fell_back = target->is_fallback, .waits = outgoing->flags & KNAP_OUTGOING_WAITS};
   atomic_store_explicit(&slot->had_time, false, memory_order_relaxed);
   uint32_t credit = outgoing->credit < INT32_MAX ? outgoing->credit : INT32_MAX;
   atomic_store_explicit(&slot->credit_to_caller, (int)credit, memory_order_relaxed);
   atomic_store_explicit(&slot->credit_to_callee, 0, memory_order_relaxed);
   atomic_store_explicit(&slot->granted, credit, memory_order_relaxed);
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
      slot->holds = true;
   }
   uint64_t word = (slot->word & ~0xffffffffull) | 2 * WORD_REF
                   | (outgoing->flags & KNAP_OUTGOING_STREAMS ? 0 : WORD_INPUT_CLOSED);
   uint32_t serial = WORD_SERIAL(word);
   atomic_store_explicit(&slot->word, word, memory_order_release);
   if (call) *call = knap_caller_handle(slot, word);

   if (status == KNAP_CANCELLED)
      return turn_away(slot, KNAP_CANCELLED, "the call that this one serves was cancelled"), KNAP_OK;
   uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed);
   if (deadline && deadline != DEADLINE_LAZY && deadline <= knap_now_ns())
      return turn_away(slot, KNAP_DEADLINE_EXCEEDED, "the deadline had passed before the call began"), KNAP_OK;
   if (hook) {
      atomic_fetch_sub_explicit(&target->party->bulkhead.common, 1, memory_order_relaxed); // given back by complete
      if (target->flags & KNAP_ROUTE_BLOCKING) dispatch(self, slot, outgoing->body, outgoing->buffer);
      else knap_run(slot, outgoing->body, outgoing->buffer);
   } else {
      proceed(self, slot, target, outgoing->body, outgoing->buffer, false, NULL);
   }
   watch_deadline(caller->engine, slot, serial, hook ? 0 : target->timeout_ns);
   return KNAP_OK;
}

static knap_route_t *bound(knap_party_t *party, uint64_t binding) {
   if (binding == 0 || binding > (uint64_t)KNAP_BIND_CHUNK * KNAP_BIND_CHUNKS) return NULL;
   _Atomic(knap_route_t *) *chunk =
      atomic_load_explicit(&party->bindings[(binding - 1) / KNAP_BIND_CHUNK], memory_order_acquire);
   return chunk ? atomic_load_explicit(&chunk[(binding - 1) % KNAP_BIND_CHUNK], memory_order_acquire) : NULL;
}

// Answers in place of a call that is not made.
static knap_status_t answer_at_once(const knap_outgoing_t *outgoing, knap_call_t *call, const knap_refusal_t *refusal) {
   if (call) *call = 0;
   outgoing->caller->complete(outgoing->context, 0, &refusal->result);
   return KNAP_OK;
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
   if (__builtin_expect(!target, 0)) target = atomic_load_explicit(&route->fallback, memory_order_acquire);
   knap_refusal_t refusal;
   if (!target) {
      knap_refusal_make(&refusal, KNAP_UNAVAILABLE, RETRY_LATER, false,
                        "no active plugin provides %s; see `knap plugins list`", route->name);
      return answer_at_once(outgoing, call, &refusal);
   }
   if (__builtin_expect(outgoing->body.size > KNAP_BODY_LARGEST, 0)) {
      knap_refusal_make(&refusal, KNAP_INVALID_ARGUMENT, RETRY_NEVER, false,
                        "the input of %s has %llu bytes, more than the %d MiB that a body may have", route->name,
                        (unsigned long long)outgoing->body.size, KNAP_BODY_LARGEST >> 20);
      knap_refuse(target->party, &refusal);
      return answer_at_once(outgoing, call, &refusal);
   }
   return start(caller, target, outgoing, origin, false, call);
}

// Runs in a frame of its party's `named` target.
static void run_hook(void *context, const knap_request_t *request) {
   knap_hook_t hook;
   (void)context;
   memcpy(&hook, request->body.data, sizeof hook);
   const char *outer = knap_current->what;
   knap_current->what = hook.name;
   hook.run(hook.instance, request->call);
   knap_current->what = outer;
}

knap_status_t knap_engine_hook(knap_party_t *caller, knap_party_t *party, const knap_hook_t *hook, const knap_outgoing_t *outgoing,
                               knap_call_t *call) {
   knap_outgoing_t with = *outgoing;
   with.body = (knap_bytes_t){(const uint8_t *)hook, sizeof *hook};
   knap_target_t target = {.call = run_hook, .party = party, .name = hook->name,
                           .flags = hook->is_blocking ? KNAP_ROUTE_BLOCKING : 0};
   return start(caller, &target, &with, NULL, true, call);
}
