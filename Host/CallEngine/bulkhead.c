#include "hot.h"

// Bulkheads (Nygard, Release It!): so many calls of a party, and of a method with a limit of its own, run at once; others
// wait in order in a bounded line, their deadlines running, and go on as calls end; what is more is refused. A call first
// gets a place of its method, then one of its party. One that descends from a call in flight on the party is served beyond
// the limits, and so is one that would wait for itself (circles.c): no limit brings calls to a standstill.

// What of a limit is in common.
static long long common_of(uint32_t limit, uint32_t share) { return (long long)limit - (long long)share * KNAP_CELLS; }

void knap_bulkhead_set(knap_party_t *party, uint32_t limit, uint32_t queue) {
   knap_bulkhead_t *bulkhead = &party->bulkhead;
   // Enough for a thread's own call and one nested in it; the rest stays in common, where any thread can use it.
   uint32_t share = limit >= 1024 ? 2 : limit >= 256 ? 1 : 0;
   pthread_mutex_lock(&party->engine->line_lock);
   bulkhead->party = party;
   long long more = common_of(limit, share) - (bulkhead->limit ? common_of(bulkhead->limit, party->share) : 0);
   atomic_fetch_add_explicit(&bulkhead->common, more, memory_order_seq_cst);
   atomic_store_explicit(&party->share, share, memory_order_seq_cst);
   bulkhead->limit = limit;
   atomic_store_explicit(&party->queue_limit, queue, memory_order_relaxed);
   pthread_mutex_unlock(&party->engine->line_lock);
   if (knap_alerted(bulkhead, ALERT_QUEUE)) knap_turn(bulkhead, NULL);
}

static bool is_partys(const knap_bulkhead_t *bulkhead) { return bulkhead == &bulkhead->party->bulkhead; }

static bool take(knap_bulkhead_t *bulkhead, knap_cell_t *wanted, knap_cell_t **cell) {
   return is_partys(bulkhead) ? knap_permit_take(bulkhead->party, wanted, cell) : knap_common_take(bulkhead);
}

// Beyond the limit.
static void take_anyway(knap_bulkhead_t *bulkhead, knap_cell_t *wanted, knap_cell_t **cell) {
   if (is_partys(bulkhead)) atomic_fetch_add_explicit(&wanted->calls, 1ull << 32, memory_order_relaxed);
   *cell = NULL;
   atomic_fetch_sub_explicit(&bulkhead->common, 1, memory_order_seq_cst);
}

static void refuse_full(const knap_bulkhead_t *bulkhead, const knap_target_t *target, knap_refusal_t *refusal) {
   const knap_party_t *party = bulkhead->party;
   bool whole = is_partys(bulkhead);
   knap_refusal_make(refusal, KNAP_RESOURCE_EXHAUSTED, RETRY_LATER, false,
                     "%s already serves %u calls at once (%s) and %u more wait (limits.queue), which is as many as it takes; "
                     "try again later, or raise these limits in its manifest", whole ? party->name : target->name,
                     bulkhead->limit, whole ? "limits.in_flight" : "the method's concurrency", party->queue_limit);
}

// A place, or a place in line. GATED: the party is not open, so nobody waits for it here.
static knap_admission_t enter(knap_thread_t *self, knap_bulkhead_t *bulkhead, knap_slot_t *slot,
                              const knap_target_t *target, knap_cell_t **cell, knap_bytes_t body, knap_buffer_t *buffer,
                              knap_refusal_t *refusal) {
   knap_party_t *party = target->party;
   knap_engine_t *engine = party->engine;
   knap_cell_t *own = &party->cells[self->cell];
   if (!knap_alerted(bulkhead, ALERT_QUEUE) && take(bulkhead, own, cell)) return ADMITTED;
   knap_holders_t holders = knap_holders_of(slot);
   if (!holders.complete || knap_holds(&holders, party)) {
      take_anyway(bulkhead, own, cell);
      return ADMITTED;
   }
   knap_waiting_t *waiting = knap_waiting_make(slot, body, buffer);
   knap_admission_t admission = WAITING;
   bool given_up = false;
   pthread_mutex_lock(&engine->line_lock);
   if (atomic_load_explicit(&party->open, memory_order_seq_cst) != PARTY_OPEN) {
      admission = GATED;
   } else {
      // Said before the last look: whoever gives a place back after it sees that somebody waits.
      atomic_fetch_or_explicit(&bulkhead->alert, ALERT_QUEUE, memory_order_seq_cst);
      if (!bulkhead->line.first && take(bulkhead, own, cell)) {
         admission = ADMITTED;
      } else if (holders.count && knap_closes_circle(&holders, party)) {
         take_anyway(bulkhead, own, cell);
         admission = ADMITTED;
      } else if (!waiting
                 || (!slot->marks.accepted
                     && atomic_load_explicit(&party->queued, memory_order_relaxed) >= party->queue_limit)
                 || !knap_note_waiting(&holders, party)) {
         admission = REFUSED;
      } else {
         waiting->party = party;
         waiting->holders = holders;
         slot->marks.accepted = true;
         atomic_fetch_add_explicit(&party->queued, 1, memory_order_relaxed);
         atomic_fetch_add_explicit(&party->waited, 1, memory_order_relaxed);
         given_up = !knap_line_append(&bulkhead->line, bulkhead, waiting);
      }
      if (!bulkhead->line.first) atomic_fetch_and_explicit(&bulkhead->alert, ~(unsigned)ALERT_QUEUE, memory_order_seq_cst);
   }
   pthread_mutex_unlock(&engine->line_lock);
   if (admission == WAITING && !given_up) return WAITING; // the slot may be gone by now
   knap_waiting_free(waiting);
   if (given_up) {
      knap_place_leave(slot, target);
      knap_end_unserved(slot);
   }
   if (admission == REFUSED) refuse_full(bulkhead, target, refusal);
   return admission;
}

knap_admission_t knap_admit_slowly(knap_thread_t *self, knap_slot_t *slot, const knap_target_t *target, bool permitted,
                                   knap_cell_t **cell, knap_bytes_t body, knap_buffer_t *buffer,
                                   knap_refusal_t *refusal) {
   knap_party_t *party = target->party;
   uint64_t id = knap_call_id(slot, knap_word(slot));
   knap_admission_t admission = knap_breaker_admits(party, 0, refusal) ? ADMITTED : REFUSED;
   knap_cell_t *none;
   if (admission == ADMITTED && target->places && !slot->marks.placed) {
      admission = enter(self, target->places, slot, target, &none, body, buffer, refusal);
      if (admission == WAITING) {
         if (permitted) knap_permit_leave(party, *cell);
         return WAITING;
      }
      slot->marks.placed = admission == ADMITTED;
   }
   if (admission == ADMITTED && !permitted) {
      admission = enter(self, &party->bulkhead, slot, target, cell, body, buffer, refusal);
      if (admission == WAITING) return WAITING;
      permitted = admission == ADMITTED;
   }
   int open = atomic_load_explicit(&party->open, memory_order_seq_cst);
   if (admission == ADMITTED && open != PARTY_OPEN && !(open == PARTY_GATED && knap_passes_gate(party, slot)))
      admission = GATED;
   if (admission == ADMITTED && !knap_breaker_admits(party, id, refusal)) admission = REFUSED;
   if (admission == ADMITTED) return ADMITTED;
   if (permitted) knap_dismiss(slot, target, *cell);
   else knap_place_leave(slot, target);
   if (admission == GATED && open == PARTY_CLOSED) {
      knap_refusal_make(refusal, KNAP_UNAVAILABLE, RETRY_LATER, false,
                        "%s is not active, so nobody serves %s; see `knap plugins info %s`", party->name, target->name,
                        party->name);
      admission = REFUSED;
   }
   if (admission == REFUSED) knap_refuse(party, refusal);
   return admission;
}

// The first of the line, if there is a place for it.
static knap_waiting_t *next(knap_bulkhead_t *bulkhead, knap_cell_t *wanted, knap_cell_t **cell) {
   knap_engine_t *engine = bulkhead->party->engine;
   pthread_mutex_lock(&engine->line_lock);
   knap_waiting_t *waiting = bulkhead->line.first;
   if (waiting && take(bulkhead, wanted, cell)) knap_line_remove(waiting);
   else waiting = NULL;
   pthread_mutex_unlock(&engine->line_lock);
   return waiting;
}

void knap_turn(knap_bulkhead_t *bulkhead, knap_cell_t *wanted) {
   knap_thread_t *self = knap_thread_self(bulkhead->party->engine);
   if (self->turning == bulkhead) return; // a call that it let go on has ended: it goes round again
   if (knap_depth(self) >= KNAP_MAX_DEPTH) return knap_defer(self, (knap_deferred_t){.kind = DEFER_TURN, .bulkhead = bulkhead});
   if (!wanted) wanted = &bulkhead->party->cells[self->cell];
   knap_bulkhead_t *outer = self->turning;
   self->turning = bulkhead;
   knap_cell_t *cell = NULL;
   for (knap_waiting_t *waiting; (waiting = next(bulkhead, wanted, &cell));) {
      knap_proceed(waiting->slot, waiting->bytes, waiting->body, bulkhead, cell);
      knap_waiting_free(waiting);
   }
   self->turning = outer;
}

void knap_permit_leave(knap_party_t *party, knap_cell_t *cell) {
   knap_permit_return(party, cell);
   if (knap_alerted(&party->bulkhead, ALERT_QUEUE)) knap_turn(&party->bulkhead, cell);
}

void knap_place_leave(knap_slot_t *slot, const knap_target_t *target) {
   if (!slot->marks.placed) return;
   slot->marks.placed = false;
   atomic_fetch_add_explicit(&target->places->common, 1, memory_order_seq_cst);
   if (knap_alerted(target->places, ALERT_QUEUE)) knap_turn(target->places, NULL);
}

void knap_dismiss(knap_slot_t *slot, const knap_target_t *target, knap_cell_t *cell) {
   knap_party_t *party = target->party;
   if (knap_alerted(&party->bulkhead, ALERT_BREAKER))
      knap_breaker_note(party, knap_call_id(slot, knap_word(slot)), ATTEMPT_UNDECIDED);
   knap_place_leave(slot, target);
   knap_permit_leave(party, cell);
}

// With the line lock held.
static void move_line(knap_bulkhead_t *bulkhead, knap_line_t *to) {
   for (knap_waiting_t *waiting; (waiting = bulkhead->line.first);) {
      knap_slot_t *slot = waiting->slot;
      knap_line_remove(waiting);
      if (slot->marks.placed) { // whose line is moved too, so nobody is there to be told
         slot->marks.placed = false;
         atomic_fetch_add_explicit(&atomic_load(&slot->target)->places->common, 1, memory_order_seq_cst);
      }
      if (!knap_line_append(to, NULL, waiting)) {
         knap_waiting_free(waiting);
         knap_end_unserved(slot);
      }
   }
}

void knap_bulkhead_move(knap_party_t *party, knap_line_t *to) {
   move_line(&party->bulkhead, to);
   pthread_mutex_lock(&party->engine->lock);
   knap_route_t *routes = party->engine->routes; // only ever grows at this end
   pthread_mutex_unlock(&party->engine->lock);
   for (knap_route_t *route = routes; route; route = route->next)
      for (int i = 0; i < 2; i++)
         if (route->places[i].party == party) move_line(&route->places[i], to);
}

void knap_line_release(knap_engine_t *engine, knap_line_t *line) {
   for (;;) {
      pthread_mutex_lock(&engine->line_lock);
      knap_waiting_t *waiting = line->first;
      if (waiting) knap_line_remove(waiting);
      pthread_mutex_unlock(&engine->line_lock);
      if (!waiting) return;
      knap_proceed(waiting->slot, waiting->bytes, waiting->body, NULL, NULL);
      knap_waiting_free(waiting);
   }
}

void knap_bulkhead_flush(knap_party_t *party) {
   knap_line_t line = {0};
   pthread_mutex_lock(&party->engine->line_lock);
   knap_bulkhead_move(party, &line);
   pthread_mutex_unlock(&party->engine->line_lock);
   knap_line_release(party->engine, &line);
}

void knap_bulkhead_limit(knap_bulkhead_t *places, knap_party_t *party, uint32_t limit) {
   knap_line_t line = {0};
   pthread_mutex_lock(&party->engine->line_lock);
   if (places->party) move_line(places, &line); // of an owner that was not gated
   places->party = party;
   atomic_fetch_add_explicit(&places->common, (long long)limit - (long long)places->limit, memory_order_seq_cst);
   places->limit = limit;
   pthread_mutex_unlock(&party->engine->line_lock);
   knap_line_release(party->engine, &line);
}
