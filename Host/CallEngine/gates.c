#include "engine.h"
#include <stdlib.h>

// Gates: calls wait while the party that they are for is replaced. Only a party that is not open leads here, so the
// usual call pays nothing for it.

enum { MOST_WAITING = 65536, MOST_ATTEMPTS = 3, DEEPEST_CHAIN = 64 };

knap_gate_t *knap_gate_close(knap_engine_t *engine, knap_party_t *const *parties, uint32_t count) {
   knap_gate_t *gate = calloc(1, sizeof *gate);
   if (!gate) return NULL;
   gate->engine = engine;
   pthread_mutex_init(&gate->lock, NULL);
   pthread_mutex_lock(&engine->lock);
   gate->next = engine->gates;
   engine->gates = gate;
   pthread_mutex_unlock(&engine->lock);
   for (uint32_t i = 0; i < count; i++) {
      atomic_store_explicit(&parties[i]->gate, gate, memory_order_seq_cst);
      atomic_store_explicit(&parties[i]->open, PARTY_GATED, memory_order_seq_cst);
   }
   return gate;
}

// Whether a call serves, over any number of others, one that is in flight behind the gate.
static bool descends(knap_engine_t *engine, knap_call_t parent, const knap_gate_t *gate) {
   for (int i = 0; parent && i < DEEPEST_CHAIN; i++) {
      knap_slot_t *slot = knap_slot_of(engine, parent);
      if (!slot || !knap_slot_change(slot, HANDLE_SERIAL(parent), 0, WORD_DONE, 0, WORD_REF, NULL)) return false;
      bool behind = atomic_load(&atomic_load(&slot->target)->party->gate) == gate;
      parent = slot->parent;
      knap_slot_release(slot);
      if (behind) return true;
   }
   return false;
}

knap_admission_t knap_admit_gated(knap_party_t *party, knap_cell_t *holder, const knap_slot_t *slot,
                                  knap_result_t *refusal) {
   int open = atomic_load_explicit(&party->open, memory_order_seq_cst);
   if (open == PARTY_GATED && slot->parent && descends(party->engine, slot->parent, atomic_load(&party->gate))) return ADMITTED;
   knap_dismiss(party, holder);
   if (open != PARTY_CLOSED) return GATED; // PARTY_OPEN: it was opened just now, so the call looks again
   return knap_refuse(party, refusal, KNAP_UNAVAILABLE, "the plugin is not active; see `knap plugins list`");
}

static void enqueue(knap_gate_t *gate, knap_waiting_t *waiting) {
   atomic_store(&waiting->slot->waits, true);
   if (gate->last) gate->last->next = waiting;
   else gate->first = waiting;
   gate->last = waiting;
   gate->count++;
}

knap_gating_t knap_gate_wait(knap_party_t *party, knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   knap_gate_t *gate = atomic_load_explicit(&party->gate, memory_order_seq_cst);
   if (!gate) return MOVED; // the party was opened for the first time meanwhile
   knap_waiting_t *waiting = calloc(1, sizeof *waiting);
   if (waiting) waiting->body = knap_buffers.keep(NULL, body, buffer, &waiting->bytes);
   if (!waiting || !waiting->body) {
      free(waiting);
      return FULL;
   }
   waiting->slot = slot;
   pthread_mutex_lock(&gate->lock);
   knap_gating_t outcome = gate->opened ? MOVED : gate->count >= MOST_WAITING ? FULL : WAITS;
   if (outcome == WAITS) enqueue(gate, waiting);
   pthread_mutex_unlock(&gate->lock);
   if (outcome != WAITS) {
      knap_buffer_drop(waiting->body);
      free(waiting);
   }
   return outcome;
}

void knap_gate_open(knap_gate_t *gate) {
   pthread_mutex_lock(&gate->lock);
   gate->opened = true;
   knap_waiting_t *waiting = gate->first;
   gate->first = gate->last = NULL;
   gate->count = 0;
   pthread_mutex_unlock(&gate->lock);
   for (knap_waiting_t *next; waiting; waiting = next) {
      next = waiting->next;
      knap_proceed(waiting->slot, waiting->bytes, waiting->body);
      knap_buffer_drop(waiting->body);
      free(waiting);
   }
}

uint32_t knap_gate_waiting(knap_gate_t *gate) {
   pthread_mutex_lock(&gate->lock);
   uint32_t count = gate->count;
   pthread_mutex_unlock(&gate->lock);
   return count;
}

// Takes the call from the callee that has it, whose party it stays admitted to. Null: it cannot be taken back.
static knap_slot_t *take_back(knap_party_t *party, knap_call_t call, bool may_have_run) {
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(party->engine, call);
   if (!slot) return NULL;
   uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire), alone;
   do {
      // Nobody else may be at it: no callback runs, the caller has no answer and no stream is open.
      if (WORD_SERIAL(word) != HANDLE_SERIAL(call) || (word & WORD_REFS) != 2 * WORD_REF || (word & WORD_USERS)
          || (word & (WORD_DONE | WORD_ANSWERED | WORD_CANCELLED)) || !(word & WORD_INPUT_CLOSED)
          || atomic_load(&slot->target)->party != party || !atomic_load(&slot->target)->route)
         return NULL;
      if (may_have_run && slot->attempts >= MOST_ATTEMPTS) return NULL;
      alone = word & ~(WORD_LISTENING | WORD_CLOSE_TOLD | WORD_CALLEE_WAITS);
   } while (!atomic_compare_exchange_weak(&slot->word, &word, alone));
   if (may_have_run) slot->attempts++;
   if (word & WORD_LISTENING) slot->callee->closed(slot->callee_context);
   return slot;
}

bool knap_call_detach(const knap_host_t *host, knap_call_t call, bool may_have_run) {
   return take_back(knap_party_of(host), call, may_have_run) != NULL;
}

bool knap_call_requeue(const knap_host_t *host, knap_call_t call, knap_bytes_t body, knap_buffer_t *buffer,
                       bool may_have_run) {
   knap_party_t *party = knap_party_of(host);
   if (atomic_load_explicit(&party->open, memory_order_seq_cst) != PARTY_GATED) return false;
   knap_slot_t *slot = take_back(party, call, may_have_run);
   if (!slot) return false;
   knap_dismiss(party, slot->cell);
   slot->cell = NULL;
   switch (knap_gate_wait(party, slot, body, buffer)) {
      case WAITS: break;
      case MOVED: knap_proceed(slot, body, buffer); break;
      case FULL: knap_turn_away(slot, KNAP_UNAVAILABLE, "the plugin ended and too many calls wait for it"); break;
   }
   return true;
}

void knap_gates_free(knap_engine_t *engine) {
   for (knap_gate_t *gate = engine->gates, *next; gate; gate = next) {
      next = gate->next;
      free(gate);
   }
}
