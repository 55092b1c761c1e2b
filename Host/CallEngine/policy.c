#include "engine.h"
#include <stdio.h>
#include <string.h>

// Who is let in: the bulkhead, the circuit breaker, interceptors; and what is counted about it.

static bool refuse(knap_party_t *party, knap_result_t *refusal, knap_status_t status, const char *message) {
   atomic_fetch_add_explicit(&party->refused, 1, memory_order_relaxed);
   *refusal = (knap_result_t){.size = sizeof *refusal, .status = status, .message = {message, strlen(message)}};
   return false;
}

// An open breaker lets one call through when its time is over; that call's end closes it or opens it again.
static bool breaker_passes(knap_party_t *party) {
   unsigned long long until = atomic_load_explicit(&party->breaker_until, memory_order_relaxed);
   if (!until) return true;
   uint64_t now = knap_now_ns();
   return now >= until
          && atomic_compare_exchange_strong(&party->breaker_until, &until, now + party->breaker_open_ns);
}

bool knap_admit(knap_party_t *party, knap_thread_t *self, knap_cell_t **holder, knap_result_t *refusal) {
   if (atomic_load_explicit(&party->breaker_until, memory_order_relaxed) && !breaker_passes(party))
      return refuse(party, refusal, KNAP_UNAVAILABLE,
                    "the plugin failed too often and its circuit breaker is open; try again later");
   knap_cell_t *cell = &party->cells[self->cell];
   unsigned long long before = atomic_fetch_add_explicit(&cell->calls, (1ull << 32) | 1, memory_order_seq_cst);
   *holder = cell;
   if ((uint32_t)before >= party->share) {
      atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_relaxed);
      *holder = NULL;
      if (atomic_fetch_sub_explicit(&party->common, 1, memory_order_relaxed) <= 0) {
         atomic_fetch_add_explicit(&party->common, 1, memory_order_relaxed);
         return refuse(party, refusal, KNAP_RESOURCE_EXHAUSTED,
                       "the plugin already serves as many calls as its bulkhead allows; try again later");
      }
   }
   // After the count, so that whoever closes the party and then sees no call in flight can rely on it.
   if (!atomic_load_explicit(&party->open, memory_order_seq_cst)) {
      knap_dismiss(party, *holder);
      return refuse(party, refusal, KNAP_UNAVAILABLE, "the plugin is not active; see `knap plugins list`");
   }
   return true;
}

void knap_dismiss(knap_party_t *party, knap_cell_t *cell) {
   if (cell) atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_release);
   else atomic_fetch_add_explicit(&party->common, 1, memory_order_release);
}

enum { CALLERS, TRANSIENT, OVERLOAD, PLUGINS };

static int class_of(knap_status_t status) {
   switch (status) {
      case KNAP_UNAVAILABLE: case KNAP_ABORTED: case KNAP_DEADLINE_EXCEEDED: return TRANSIENT;
      case KNAP_RESOURCE_EXHAUSTED: return OVERLOAD;
      case KNAP_UNKNOWN: case KNAP_INTERNAL: case KNAP_DATA_LOSS: case KNAP_UNIMPLEMENTED: return PLUGINS;
      default: return CALLERS;
   }
}

void knap_account(knap_party_t *party, knap_status_t status) {
   if (status == KNAP_OK) {
      if (atomic_load_explicit(&party->breaker_failures, memory_order_relaxed)) {
         atomic_store_explicit(&party->breaker_failures, 0, memory_order_relaxed);
         atomic_store_explicit(&party->breaker_until, 0, memory_order_relaxed);
      }
      return;
   }
   int class = class_of(status);
   atomic_fetch_add_explicit(&party->failed[class], 1, memory_order_relaxed);
   if (!party->breaker_limit || class == CALLERS || class == OVERLOAD) return;
   int failures = atomic_fetch_add_explicit(&party->breaker_failures, 1, memory_order_relaxed) + 1;
   if (failures >= (int)party->breaker_limit)
      atomic_store_explicit(&party->breaker_until, knap_now_ns() + party->breaker_open_ns, memory_order_relaxed);
}

static knap_text_t text(const char *string) { return (knap_text_t){string, strlen(string)}; }

knap_status_t knap_intercept(const knap_hook_list_t *hooks, const knap_slot_t *slot, knap_bytes_t body,
                             knap_result_t *refusal) {
   knap_buffer_t *principal = slot->principal ? slot->principal : slot->caller_party->principal;
   knap_call_info_t info = {
      .size = sizeof info,
      .principal = {(const char *)principal->bytes, principal->size},
      .caller = text(slot->caller_party->name),
      .method = text(slot->target->name),
   };
   if (slot->trace) info.trace = (knap_text_t){(const char *)slot->trace->bytes, slot->trace->size};
   for (uint32_t i = 0; i < hooks->count; i++) {
      const knap_hooked_t *hook = &hooks->hooks[i];
      if (!hook->intercept || hook->party == slot->caller_party || hook->party == slot->target->party) continue;
      knap_text_t message = {NULL, 0};
      knap_status_t status = atomic_load_explicit(&hook->party->open, memory_order_acquire)
                                ? hook->intercept->decide(hook->instance, &info, body, &message)
                                : KNAP_UNAVAILABLE;
      if (status == KNAP_OK) continue;
      if (!message.size) message = text("refused by an interceptor");
      *refusal = (knap_result_t){.size = sizeof *refusal, .status = status, .message = message};
      return status;
   }
   return KNAP_OK;
}

static knap_observation_t observation(const knap_slot_t *slot, knap_call_t call) {
   return (knap_observation_t){
      .size = sizeof(knap_observation_t), .call = call, .parent = slot->parent, .start_ns = slot->start_ns,
      .caller = text(slot->caller_party->name), .callee = text(slot->target->party->name),
      .method = text(slot->target->name),
   };
}

static bool sees(const knap_hooked_t *hook) {
   return hook->observe && atomic_load_explicit(&hook->party->open, memory_order_acquire);
}

void knap_observe_begin(const knap_hook_list_t *hooks, knap_slot_t *slot, knap_call_t call) {
   slot->observed = true;
   slot->start_ns = knap_now_ns();
   knap_observation_t seen = observation(slot, call);
   for (uint32_t i = 0; i < hooks->count; i++)
      if (sees(&hooks->hooks[i])) hooks->hooks[i].observe->begin(hooks->hooks[i].instance, &seen);
}

void knap_observe_end(knap_slot_t *slot, knap_call_t call, knap_status_t status) {
   const knap_hook_list_t *hooks = atomic_load_explicit(&slot->target->party->engine->hooks, memory_order_acquire);
   slot->observed = false;
   if (!hooks) return;
   knap_observation_t seen = observation(slot, call);
   seen.status = status;
   seen.end_ns = knap_now_ns();
   for (uint32_t i = 0; i < hooks->count; i++)
      if (sees(&hooks->hooks[i])) hooks->hooks[i].observe->end(hooks->hooks[i].instance, &seen);
}
