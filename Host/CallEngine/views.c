#include "hot.h"
#include <string.h>

// What may be asked about a call: by the plugins at its ends, and by an end that passes it on to another process.

knap_status_t knap_info(const knap_host_t *host, knap_call_t call, knap_call_info_t *info) {
   knap_party_t *party = knap_party_of(host);
   knap_slot_t *slot = knap_slot_of(party->engine, call & ~HANDLE_CALLER);
   uint64_t word;
   if (!slot || !knap_slot_change(slot, HANDLE_SERIAL(call), 0, WORD_DONE, 0, WORD_REF, &word))
      return KNAP_FAILED_PRECONDITION;
   knap_status_t status = KNAP_PERMISSION_DENIED;
   if (!knap_handle_fits(word, call)) {
      status = KNAP_FAILED_PRECONDITION;
   } else if ((call & HANDLE_CALLER ? slot->caller_party : atomic_load(&slot->target)->party) == party) {
      knap_buffer_t *principal = slot->principal ? slot->principal : slot->caller_party->principal;
      knap_call_info_t full = {
         .size = info->size,
         .flags = (word & WORD_INPUT_CLOSED ? 0 : KNAP_CALL_INPUT_OPEN) | (word & WORD_CANCELLED ? KNAP_CALL_CANCELLED : 0),
         .deadline_ns = knap_deadline(slot),
         .principal = {(const char *)principal->bytes, principal->size},
         .caller = knap_caller_name(slot),
         .method = {atomic_load(&slot->target)->name, strlen(atomic_load(&slot->target)->name)},
      };
      if (slot->trace) full.trace = (knap_text_t){(const char *)slot->trace->bytes, slot->trace->size};
      memcpy(info, &full, info->size < sizeof full ? info->size : sizeof full);
      status = KNAP_OK;
   }
   knap_slot_release(slot);
   return status;
}

bool knap_call_view(const knap_host_t *host, knap_call_t call, knap_call_view_t *view) {
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(knap_party_of(host)->engine, call);
   uint64_t word = slot ? knap_word(slot) : 0;
   if (!slot || !knap_handle_fits(word, call) || (word & WORD_DONE)) return false;
   const knap_buffer_t *principal = slot->principal ? slot->principal : slot->caller_party->principal;
   uint64_t deadline = atomic_load_explicit(&slot->deadline_ns, memory_order_relaxed);
   *view = (knap_call_view_t){
      .deadline_ns = deadline == DEADLINE_LAZY ? 0 : deadline, .input_open = !(word & WORD_INPUT_CLOSED),
      .waits = slot->marks.waits,
      .granted = atomic_load_explicit(&slot->granted, memory_order_seq_cst), .parent = slot->parent, .caller = knap_caller_name(slot),
      .principal = {(const char *)principal->bytes, principal->size},
   };
   if (slot->trace) view->trace = (knap_text_t){(const char *)slot->trace->bytes, slot->trace->size};
   return true;
}

void *knap_call_context(const knap_host_t *host, knap_call_t call, const knap_caller_t *caller) {
   knap_slot_t *slot = call & HANDLE_CALLER ? NULL : knap_slot_of(knap_party_of(host)->engine, call);
   uint64_t word;
   if (!slot || !knap_slot_change(slot, HANDLE_SERIAL(call), 0, WORD_DONE, 0, WORD_REF, &word)) return NULL;
   void *context = slot->caller == caller && knap_handle_fits(word, call) ? slot->caller_context : NULL;
   knap_slot_release(slot);
   return context;
}

uint32_t knap_engine_depth(knap_engine_t *engine) { return knap_depth(knap_thread_self(engine)); }
