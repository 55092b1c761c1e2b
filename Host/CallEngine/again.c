#include "hot.h"
#include <unistd.h>

// A call that failed for the moment is made again: by the same party after a while, or at once by its stand-in.
//
// Retries are for idempotent methods that ask for them, and only where nothing of the answer has reached the caller. They
// wait longer each time, by exponential back-off with full jitter (Brooker, Exponential Backoff And Jitter, AWS
// Architecture Blog 2015), never past the deadline. A budget for each party keeps them from multiplying the load of one
// that is down (Google, Site Reliability Engineering, ch. 21; Finagle's RetryBudget, whose 20 % this is; gRPC A6 throttles
// to the same end): every first attempt earns a fifth of a retry.

enum {
   BUDGET_PRICE = 5,                  // of one retry, where a call earns 1
   BUDGET_START = 10 * BUDGET_PRICE,  // so that what is called rarely is retried too
   BUDGET_MOST  = 50 * BUDGET_PRICE,
   BACKOFF_FIRST_MS = 25, BACKOFF_MOST_MS = 2000,
};

void knap_budget_init(knap_party_t *party) { atomic_init(&party->retry_budget, BUDGET_START); }

void knap_budget_earn(knap_party_t *party) {
   if (atomic_load_explicit(&party->retry_budget, memory_order_relaxed) < BUDGET_MOST)
      atomic_fetch_add_explicit(&party->retry_budget, 1, memory_order_relaxed);
}

static bool spend(knap_party_t *party) {
   int left = atomic_load_explicit(&party->retry_budget, memory_order_relaxed);
   while (left >= BUDGET_PRICE)
      if (atomic_compare_exchange_weak_explicit(&party->retry_budget, &left, left - BUDGET_PRICE, memory_order_relaxed,
                                                memory_order_relaxed))
         return true;
   return false;
}

uint64_t knap_backoff_ns(uint32_t retry, uint64_t random) {
   uint64_t most_ms = retry < 16 ? (uint64_t)BACKOFF_FIRST_MS << retry : BACKOFF_MOST_MS;
   if (most_ms > BACKOFF_MOST_MS) most_ms = BACKOFF_MOST_MS;
   return random % (most_ms * 1000000 + 1);
}

// splitmix64 (Steele, Lea, Flood 2014), on any number of threads.
static uint64_t next_random(knap_engine_t *engine) {
   uint64_t x = atomic_fetch_add_explicit(&engine->random, 0x9e3779b97f4a7c15ull, memory_order_relaxed);
   x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
   x = (x ^ x >> 27) * 0x94d049bb133111ebull;
   return x ^ x >> 31;
}

// Whether the call that this one serves was given up or has ended.
static bool parent_stopped(const knap_slot_t *slot) {
   if (!slot->parent) return false;
   const knap_slot_t *parent = knap_slot_of(slot->caller_party->engine, slot->parent);
   uint64_t word = parent ? knap_word(parent) : 0;
   return !parent || !knap_handle_fits(word, slot->parent) || (word & (WORD_DONE | WORD_CANCELLED));
}

void knap_keep_body(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   uint64_t word = knap_word(slot);
   if (!(word & WORD_INPUT_CLOSED)) return; // a stream cannot be sent twice
   if (!slot->kept) {
      const knap_target_t *target = atomic_load_explicit(&slot->target, memory_order_relaxed);
      if (target->retries) knap_budget_earn(target->party);
      slot->kept = knap_buffers.keep(NULL, body, buffer, &slot->kept_bytes);
      if (!slot->kept) return;
      slot->holds = true;
   }
   knap_slot_change(slot, WORD_SERIAL(word), 0, WORD_AGAIN, WORD_AGAIN, 0, NULL);
}

enum { LOOK_AGAIN_US = 50, MOST_LOOKS = 20000 };

bool knap_take_back(knap_slot_t *slot, knap_call_t call, bool begun, uint64_t also_must, bool anew) {
   uint64_t word = knap_word(slot), next;
   int looks = 0;
   do {
      // A stream's items could not be sent again; of one that was not begun none was, since its callee gave no credit.
      uint64_t must = also_must | (begun ? WORD_INPUT_CLOSED : 0);
      if (!knap_handle_fits(word, call) || !(word & WORD_REFS) || (word & (WORD_DONE | WORD_ANSWERED | WORD_CANCELLED))
          || (word & must) != must || (anew && (word & WORD_ATTEMPTS) == WORD_ATTEMPTS))
         return false;
      // Nobody else may be at it: no callback runs. Where the callee does not listen, none to it can.
      bool alone = ((word & WORD_REFS) == 2 * WORD_REF || !(word & WORD_LISTENING)) && !(word & WORD_USERS);
      if (!alone) {
         // The caller grants or half-closes just now, which returns soon. A callee that completes may be in a callback.
         if (begun || ++looks > MOST_LOOKS) return false;
         usleep(LOOK_AGAIN_US);
         word = knap_word(slot);
         continue;
      }
      next = (word & ~(WORD_LISTENING | WORD_CLOSE_TOLD | WORD_CALLEE_WAITS)) + (anew ? WORD_ATTEMPT : 0);
      if (atomic_compare_exchange_weak(&slot->word, &word, next)) break;
   } while (true);
   if (word & WORD_LISTENING) slot->callee->closed(slot->callee_context);
   return true;
}

static bool retry(knap_slot_t *slot, const knap_target_t *target, knap_bytes_t body, knap_buffer_t *buffer) {
   uint64_t word = knap_word(slot);
   if (slot->marks.retried >= target->retries || !(word & WORD_INPUT_CLOSED) || parent_stopped(slot)) return false;
   knap_engine_t *engine = target->party->engine;
   uint64_t deadline = knap_deadline(slot);
   uint64_t when = knap_now_ns() + knap_backoff_ns(slot->marks.retried, next_random(engine));
   if (deadline && when >= deadline) return false;
   knap_waiting_t *waiting = knap_waiting_make(slot, body, buffer);
   if (!waiting) return false;
   if (!spend(target->party)) {
      atomic_fetch_add_explicit(&target->party->retries_denied, 1, memory_order_relaxed);
      knap_waiting_free(waiting);
      return false;
   }
   slot->marks.retried++;
   atomic_fetch_add_explicit(&target->party->retried, 1, memory_order_relaxed);
   waiting->timer = (knap_timer_node_t){.when_ns = when, .kind = TIMER_RETRY, .slot = slot, .serial = WORD_SERIAL(word)};
   pthread_mutex_lock(&engine->line_lock);
   bool waits = knap_line_append(NULL, NULL, waiting), started = waits && knap_timer_start(engine, &waiting->timer);
   if (waits && !started) knap_line_remove(waiting);
   pthread_mutex_unlock(&engine->line_lock);
   if (started) return true;
   knap_waiting_free(waiting);
   if (!waits) knap_end_unserved(slot);
   return !waits;
}

void knap_retry_due(knap_slot_t *slot, uint32_t serial) {
   knap_waiting_t *waiting = knap_waiting_take(slot, serial);
   if (!waiting) return; // given up
   if (parent_stopped(slot)) {
      knap_refusal_t refusal;
      knap_refusal_make(&refusal, KNAP_CANCELLED, RETRY_NEVER, true, "the call that this one serves was given up");
      knap_turn_away(slot, &refusal.result);
   } else if (!knap_pool_run(slot, waiting->bytes, waiting->body, true)) {
      // No memory for the pool: this thread is the timers', but a call that never ends is worse.
      knap_proceed(slot, waiting->bytes, waiting->body, NULL, NULL);
   }
   knap_waiting_free(waiting);
}

static bool fall_back(knap_slot_t *slot, const knap_target_t *target, bool ran, knap_bytes_t body, knap_buffer_t *buffer) {
   if (target->is_fallback || slot->marks.fell_back || (ran && !(target->flags & KNAP_ROUTE_IDEMPOTENT))) return false;
   const knap_target_t *fallback = atomic_load_explicit(&target->route->fallback, memory_order_acquire);
   if (!fallback || atomic_load(&fallback->party->open) == PARTY_CLOSED) return false;
   atomic_fetch_add_explicit(&target->party->fell_back, 1, memory_order_relaxed);
   slot->marks.fell_back = true;
   slot->marks.retried = 0;
   knap_proceed(slot, body, buffer, NULL, NULL);
   return true;
}

bool knap_again(knap_slot_t *slot, bool ran, bool retries, knap_bytes_t body, knap_buffer_t *buffer) {
   const knap_target_t *target = atomic_load_explicit(&slot->target, memory_order_relaxed);
   if (!target->route) return false;
   return (retries && retry(slot, target, body, buffer)) || fall_back(slot, target, ran, body, buffer);
}

bool knap_again_after(knap_slot_t *slot, knap_call_t call, const knap_result_t *result) {
   const knap_target_t *target = atomic_load(&slot->target);
   knap_cell_t *cell = slot->cell;
   if (!knap_take_back(slot, call, true, WORD_AGAIN, true)) return false;
   knap_account_failure(target->party, slot, result->status, false);
   knap_place_leave(slot, target);
   knap_permit_return(target->party, cell);
   knap_buffer_t *body = knap_buffer_share(slot->kept); // the slot may be gone before a stand-in is done with it
   if (!knap_again(slot, true, result->status == KNAP_UNAVAILABLE, slot->kept_bytes, body)) knap_turn_away(slot, result);
   knap_buffer_drop(body);
   if (knap_alerted(&target->party->bulkhead, ALERT_QUEUE)) knap_turn(&target->party->bulkhead, cell);
   return true;
}

void knap_call_unserved(const knap_host_t *host, knap_call_t call, knap_status_t status, const char *message,
                        knap_bytes_t body, knap_buffer_t *buffer) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(party->engine, call);
   knap_refusal_t refusal;
   knap_refusal_make(&refusal, status, RETRY_LATER, false, "%s: %s", party->name, message);
   const knap_target_t *target = slot ? atomic_load(&slot->target) : NULL;
   knap_cell_t *cell = slot ? slot->cell : NULL;
   if (!slot || target->party != party || !target->route || !knap_take_back(slot, call, false, 0, true)) {
      knap_complete(host, call, &refusal.result);
      return;
   }
   knap_account_failure(party, slot, status, true);
   knap_dismiss(slot, target, cell);
   if (!knap_again(slot, false, status == KNAP_UNAVAILABLE, body, buffer)) knap_turn_away(slot, &refusal.result);
}
