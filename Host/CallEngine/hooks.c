#include "hot.h"
#include <string.h>

// Who judges and who sees every call.

static knap_text_t text(const char *string) { return (knap_text_t){string, strlen(string)}; }

knap_status_t knap_intercept(const knap_hook_list_t *hooks, const knap_slot_t *slot, knap_bytes_t body,
                             knap_result_t *refusal) {
   if (hooks->closed && slot->caller_party->assert_principal && slot->target->party != hooks->open) {
      *refusal = (knap_result_t){.size = sizeof *refusal, .status = KNAP_UNAVAILABLE, .message = text(hooks->closed)};
      return KNAP_UNAVAILABLE;
   }
   knap_buffer_t *principal = slot->principal ? slot->principal : slot->caller_party->principal;
   knap_call_info_t info = {
      .size = sizeof info,
      .principal = {(const char *)principal->bytes, principal->size},
      .caller = knap_caller_name(slot),
      .method = text(atomic_load(&slot->target)->name),
   };
   if (slot->trace) info.trace = (knap_text_t){(const char *)slot->trace->bytes, slot->trace->size};
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   for (uint32_t i = 0; i < hooks->count; i++) {
      const knap_hooked_t *hook = &hooks->hooks[i];
      if (!hook->intercept || hook->party == slot->caller_party || hook->party == slot->target->party) continue;
      knap_text_t message = {NULL, 0};
      knap_status_t status = KNAP_UNAVAILABLE;
      if (atomic_load_explicit(&hook->party->open, memory_order_acquire) != PARTY_CLOSED) {
         knap_frame_enter(self, &hook->party->callback);
         status = hook->intercept->decide(hook->instance, &info, body, &message);
         knap_frame_leave(self);
      } else if (slot->target->party == hooks->open) {
         continue; // the operator's way in, while the interceptor goes
      }
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
      .caller = knap_caller_name(slot), .callee = text(atomic_load(&slot->target)->party->name),
      .method = text(atomic_load(&slot->target)->name),
   };
}

static void show(const knap_hook_list_t *hooks, const knap_slot_t *slot, const knap_observation_t *seen, bool begins) {
   knap_thread_t *self = knap_thread_self(slot->caller_party->engine);
   for (uint32_t i = 0; i < hooks->count; i++) {
      const knap_hooked_t *hook = &hooks->hooks[i];
      if (!hook->observe || atomic_load_explicit(&hook->party->open, memory_order_acquire) == PARTY_CLOSED) continue;
      knap_frame_enter(self, &hook->party->callback);
      (begins ? hook->observe->begin : hook->observe->end)(hook->instance, seen);
      knap_frame_leave(self);
   }
}

void knap_observe_begin(const knap_hook_list_t *hooks, knap_slot_t *slot, knap_call_t call) {
   slot->observed = true;
   slot->start_ns = knap_now_ns();
   knap_observation_t seen = observation(slot, call);
   show(hooks, slot, &seen, true);
}

void knap_observe_end(knap_slot_t *slot, knap_call_t call, knap_status_t status) {
   const knap_hook_list_t *hooks = atomic_load_explicit(&slot->caller_party->engine->hooks, memory_order_acquire);
   slot->observed = false;
   if (!hooks) return;
   knap_observation_t seen = observation(slot, call);
   seen.status = status;
   seen.end_ns = knap_now_ns();
   show(hooks, slot, &seen, false);
}
