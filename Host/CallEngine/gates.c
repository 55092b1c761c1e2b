#include "hot.h"
#include <stdlib.h>

// Gates: calls wait while the party that they are for is replaced. Only a party that is not open leads here, so the
// usual call pays nothing for it.

enum { MOST_WAITING = 65536, MOST_REQUEUED = 3, DEEPEST_CHAIN = 64 };

knap_gate_t *knap_gate_close(knap_engine_t *engine, knap_party_t *const *parties, uint32_t count) {
   knap_gate_t *gate = calloc(1, sizeof *gate);
   if (!gate) return NULL;
   gate->engine = engine;
   pthread_mutex_lock(&engine->lock);
   gate->next = engine->gates;
   engine->gates = gate;
   pthread_mutex_unlock(&engine->lock);
   for (uint32_t i = 0; i < count; i++) {
      // Calls that wait for a place come before those that come from now on.
      pthread_mutex_lock(&engine->line_lock);
      atomic_store_explicit(&parties[i]->gate, gate, memory_order_seq_cst);
      atomic_store_explicit(&parties[i]->open, PARTY_GATED, memory_order_seq_cst);
      knap_bulkhead_move(parties[i], &gate->line);
      pthread_mutex_unlock(&engine->line_lock);
   }
   return gate;
}

bool knap_passes_gate(knap_party_t *party, const knap_slot_t *slot) {
   knap_engine_t *engine = party->engine;
   const knap_gate_t *gate = atomic_load(&party->gate);
   knap_call_t parent = slot->parent;
   for (int i = 0; parent && i < DEEPEST_CHAIN; i++) {
      knap_slot_t *above = knap_slot_of(engine, parent);
      uint64_t word;
      if (!above || !knap_slot_change(above, HANDLE_SERIAL(parent), 0, WORD_DONE, 0, WORD_REF, &word)) return false;
      bool behind = knap_handle_fits(word, parent) && atomic_load(&atomic_load(&above->target)->party->gate) == gate;
      parent = knap_handle_fits(word, parent) ? above->parent : 0;
      knap_slot_release(above);
      if (behind) return true;
   }
   return false;
}

knap_gating_t knap_gate_wait(knap_party_t *party, knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   knap_engine_t *engine = party->engine;
   knap_waiting_t *waiting = knap_waiting_make(slot, body, buffer);
   if (!waiting) return FULL;
   pthread_mutex_lock(&engine->line_lock);
   knap_gate_t *gate = atomic_load_explicit(&party->gate, memory_order_seq_cst);
   knap_gating_t outcome = !gate || gate->opened ? MOVED : gate->line.count >= MOST_WAITING ? FULL : WAITS;
   bool given_up = outcome == WAITS && !knap_line_append(&gate->line, NULL, waiting);
   pthread_mutex_unlock(&engine->line_lock);
   if (outcome != WAITS || given_up) knap_waiting_free(waiting);
   if (given_up) knap_end_unserved(slot);
   return outcome;
}

void knap_gate_open(knap_gate_t *gate) {
   pthread_mutex_lock(&gate->engine->line_lock);
   gate->opened = true;
   // They waited already, so they may go on waiting, for a place, however many they are.
   for (knap_waiting_t *waiting = gate->line.first; waiting; waiting = waiting->next) waiting->slot->marks.accepted = true;
   pthread_mutex_unlock(&gate->engine->line_lock);
   knap_line_release(gate->engine, &gate->line);
}

static bool is_behind_gate(const knap_party_t *party) {
   return atomic_load_explicit(&party->open, memory_order_seq_cst) == PARTY_GATED;
}

bool knap_party_gated(const knap_party_t *party) {
   const knap_gate_t *gate = atomic_load_explicit(&party->gate, memory_order_seq_cst);
   return is_behind_gate(party) && gate && !atomic_load_explicit(&gate->opened, memory_order_seq_cst);
}

uint32_t knap_gate_waiting(knap_gate_t *gate) {
   pthread_mutex_lock(&gate->engine->line_lock);
   uint32_t count = gate->line.count;
   pthread_mutex_unlock(&gate->engine->line_lock);
   return count;
}

// Null: it cannot be taken back.
static knap_slot_t *take_back(knap_party_t *party, knap_call_t call, bool may_have_run, bool anew) {
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(party->engine, call);
   if (!slot || !knap_handle_fits(knap_word(slot), call)) return NULL;
   const knap_target_t *target = atomic_load(&slot->target);
   if (target->party != party || !target->route || (may_have_run && slot->marks.requeued >= MOST_REQUEUED)) return NULL;
   if (!knap_take_back(slot, call, may_have_run, 0, anew)) return NULL;
   if (may_have_run) slot->marks.requeued++;
   return slot;
}

bool knap_call_detach(const knap_host_t *host, knap_call_t call, bool may_have_run) {
   return take_back(knap_party_of(host), call, may_have_run, false) != NULL;
}

bool knap_call_requeue(const knap_host_t *host, knap_call_t call, knap_bytes_t body, knap_buffer_t *buffer,
                       bool may_have_run) {
   knap_party_t *party = knap_party_of(host);
   if (!is_behind_gate(party)) return false;
   knap_slot_t *slot = take_back(party, call, may_have_run, true);
   if (!slot) return false;
   const knap_target_t *target = atomic_load(&slot->target);
   knap_cell_t *cell = slot->cell;
   knap_dismiss(slot, target, cell);
   switch (knap_gate_wait(party, slot, body, buffer)) {
      case WAITS: break;
      case MOVED: knap_proceed(slot, body, buffer, NULL, NULL); break;
      case FULL: {
         knap_refusal_t refusal;
         knap_refusal_make(&refusal, KNAP_UNAVAILABLE, RETRY_LATER, false,
                           "%s ended, and too many calls wait for it; try again later", party->name);
         knap_refuse(party, &refusal);
         knap_turn_away(slot, &refusal.result);
      }
   }
   return true;
}

void knap_gates_free(knap_engine_t *engine) {
   for (knap_gate_t *gate = engine->gates, *next; gate; gate = next) {
      next = gate->next;
      free(gate);
   }
}
