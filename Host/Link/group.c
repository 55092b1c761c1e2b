#include "group.h"
#include <stdlib.h>
#include <string.h>

// Chooses a member for each call. The word `open` says which seats take calls; a seat's count is raised before `open` is
// looked at again, so whoever closes a seat and then sees its count at zero knows that nobody is in its link.

// So many members are compared; of more, two that chance names: nearly as even, at the cost of two.
enum { COMPARED = 8 };

knap_group_t *knap_group_create(const knap_group_config_t *config) {
   knap_group_t *group = aligned_alloc(64, sizeof *group);
   if (!group) return NULL;
   memset(group, 0, sizeof *group);
   group->config = *config;
   group->host = knap_party_host(config->party);
   pthread_mutex_init(&group->lock, NULL);
   return group;
}

// Takes out these seats; with the last of them ends a group that is to end.
static void clear(knap_group_t *group, uint64_t seats, bool ends) {
   pthread_mutex_lock(&group->lock);
   group->taken &= ~seats;
   group->ends |= ends;
   bool is_over = group->ends && !group->taken;
   pthread_mutex_unlock(&group->lock);
   if (is_over) free(group);
}

void knap_group_destroy(knap_group_t *group) { clear(group, 0, true); }

knap_seat_t *group_seat(knap_group_t *group, knap_link_t *link) {
   pthread_mutex_lock(&group->lock);
   uint64_t left = ~group->taken;
   knap_seat_t *seat = left ? &group->seats[__builtin_ctzll(left)] : NULL;
   if (seat) {
      group->taken |= left & -left;
      seat->link = link;
   }
   pthread_mutex_unlock(&group->lock);
   return seat;
}

static uint64_t bit_of(const knap_group_t *group, const knap_seat_t *seat) { return 1ull << (seat - group->seats); }

void group_unseat(knap_group_t *group, knap_seat_t *seat) { clear(group, bit_of(group, seat), false); }

void knap_group_admit(knap_link_t *link, bool admits) {
   uint64_t bit = bit_of(link->group, link->seat);
   if (admits) atomic_fetch_or_explicit(&link->group->open, bit, memory_order_seq_cst);
   else atomic_fetch_and_explicit(&link->group->open, ~bit, memory_order_seq_cst);
}

void seat_count(knap_seat_t *seat) {
   if (seat) atomic_fetch_add_explicit(&seat->calls, 1, memory_order_relaxed);
}

void seat_uncount(knap_seat_t *seat) {
   if (seat) atomic_fetch_sub_explicit(&seat->calls, 1, memory_order_release);
}

uint32_t seat_calls(const knap_seat_t *seat) { return atomic_load_explicit(&seat->calls, memory_order_acquire); }

void knap_group_rearm(knap_group_t *group) { atomic_store_explicit(&group->pressed, false, memory_order_seq_cst); }

static uint32_t chance(void) {
   static _Thread_local uint32_t state;
   if (!state) state = (uint32_t)((uintptr_t)&state >> 4) | 1;
   state ^= state << 13, state ^= state >> 17, state ^= state << 5; // Marsaglia's xorshift
   return state;
}

static uint64_t any_of(uint64_t bits, uint32_t count) {
   for (uint32_t skip = chance() % count; skip; skip--) bits &= bits - 1;
   return bits & -bits;
}

// Of members with as many calls it is the first, so that few callers keep few processes awake.
static uint32_t least_loaded(const knap_group_t *group, uint64_t open) {
   uint32_t count = (uint32_t)__builtin_popcountll(open);
   if (count > COMPARED) {
      uint64_t one = any_of(open, count);
      open = one | any_of(open & ~one, count - 1);
   }
   uint32_t best = 0, least = UINT32_MAX;
   for (; open && least; open &= open - 1) {
      uint32_t at = (uint32_t)__builtin_ctzll(open);
      uint32_t calls = atomic_load_explicit(&group->seats[at].calls, memory_order_relaxed);
      if (calls < least) best = at, least = calls;
   }
   return best;
}

static void press(knap_group_t *group) {
   if (atomic_load_explicit(&group->pressed, memory_order_relaxed)
       || atomic_exchange_explicit(&group->pressed, true, memory_order_seq_cst))
      return;
   group->config.pressed(group->config.context);
}

// Counts a call at the member that it returns; null: there is none.
static knap_link_t *pick(knap_group_t *group) {
   for (;;) {
      uint64_t open = atomic_load_explicit(&group->open, memory_order_acquire);
      if (!open) return NULL;
      knap_seat_t *seat = &group->seats[least_loaded(group, open)];
      uint32_t before = atomic_fetch_add_explicit(&seat->calls, 1, memory_order_seq_cst);
      if (__builtin_expect((atomic_load_explicit(&group->open, memory_order_seq_cst) & bit_of(group, seat)) != 0, 1)) {
         if (group->config.busy && before >= group->config.busy) press(group);
         return seat->link;
      }
      seat_uncount(seat);
   }
}

void knap_group_forward(void *context, const knap_request_t *request) {
   knap_group_t *group = context;
   knap_link_t *link = pick(group);
   if (__builtin_expect(link != NULL, 1))
      return outbound_forward(link, request->call, request->method, request->body, request->buffer, true);
   // The last member ended after the call was admitted.
   if (!knap_call_requeue(group->host, request->call, request->body, request->buffer, false))
      knap_call_unserved(group->host, request->call, KNAP_UNAVAILABLE, "its processes ended before they ran the call; try again",
                         request->body, request->buffer);
}

bool group_take_over(outbound_t *place, bool may_have_run) {
   knap_group_t *group = place->link->group;
   knap_group_admit(place->link, false);
   knap_link_t *link = pick(group);
   if (!link) return knap_call_requeue(group->host, place->call, place->body, place->kept, may_have_run);
   if (!knap_call_detach(group->host, place->call, may_have_run)) {
      seat_uncount(link->seat);
      return false;
   }
   outbound_forward(link, place->call, place->method, place->body, place->kept, false);
   return true;
}
