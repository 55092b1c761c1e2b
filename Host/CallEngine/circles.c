#include "hot.h"
#include <stdlib.h>

// Who waits for whom. A call that waits for a place at B while calls above it hold places at A has A wait for B; if B
// already waited for A, directly or through others, no call of the circle would ever end. So the one call that would close
// a circle does not wait: it is served beyond the limit. What a call does that has no calls above it closes none.

enum { DEEPEST_CHAIN = 64 };

bool knap_holds(const knap_holders_t *holders, const knap_party_t *party) {
   for (uint32_t i = 0; i < holders->count; i++)
      if (holders->parties[i] == party) return true;
   return false;
}

knap_holders_t knap_holders_of(const knap_slot_t *slot) {
   knap_holders_t holders = {.complete = true};
   knap_engine_t *engine = slot->caller_party->engine;
   knap_call_t parent = slot->parent;
   for (int i = 0; parent; i++) {
      knap_slot_t *above = knap_slot_of(engine, parent);
      uint64_t word;
      if (!above || !knap_slot_change(above, HANDLE_SERIAL(parent), 0, WORD_DONE, 0, WORD_REF, &word)) break;
      knap_party_t *party = atomic_load(&above->target)->party;
      parent = knap_handle_fits(word, parent) ? above->parent : 0;
      knap_slot_release(above);
      if (knap_holds(&holders, party)) continue;
      if (i == DEEPEST_CHAIN || holders.count == KNAP_MOST_HOLDERS) {
         holders.complete = false;
         break;
      }
      holders.parties[holders.count++] = party;
   }
   return holders;
}

// Whether somebody who holds a place at `held` waits, over any number of parties, for one at `party`. Each party is
// visited once.
static bool reaches(knap_party_t *held, const knap_party_t *party, uint32_t mark) {
   if (held == party) return true;
   if (held->mark == mark) return false;
   held->mark = mark;
   for (uint32_t i = 0; i < held->waits_for_count; i++)
      if (held->waits_for[i].count && reaches(held->waits_for[i].party, party, mark)) return true;
   return false;
}

bool knap_closes_circle(const knap_holders_t *holders, knap_party_t *party) {
   uint32_t mark = ++party->engine->marks;
   for (uint32_t i = 0; i < holders->count; i++)
      if (reaches(party, holders->parties[i], mark)) return true;
   return false;
}

static knap_edge_t *edge(knap_party_t *from, knap_party_t *to) {
   knap_edge_t *unused = NULL;
   for (uint32_t i = 0; i < from->waits_for_count; i++) {
      if (from->waits_for[i].party == to) return &from->waits_for[i];
      if (!from->waits_for[i].count) unused = &from->waits_for[i];
   }
   if (!unused) {
      knap_edge_t *more = realloc(from->waits_for, (from->waits_for_count + 1) * sizeof *more);
      if (!more) return NULL;
      from->waits_for = more;
      unused = &more[from->waits_for_count++];
   }
   *unused = (knap_edge_t){.party = to};
   return unused;
}

bool knap_note_waiting(const knap_holders_t *holders, knap_party_t *party) {
   for (uint32_t i = 0; i < holders->count; i++) {
      knap_edge_t *found = edge(holders->parties[i], party);
      if (!found) {
         knap_holders_t noted = *holders;
         noted.count = i;
         knap_forget_waiting(&noted, party);
         return false;
      }
      found->count++;
   }
   return true;
}

void knap_forget_waiting(const knap_holders_t *holders, knap_party_t *party) {
   for (uint32_t i = 0; i < holders->count; i++) edge(holders->parties[i], party)->count--;
}
