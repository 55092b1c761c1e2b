#include "hot.h"
#include <stdlib.h>
#include <time.h>

// Whether a plugin's code can be unmapped: nothing may call it any more, and no thread may be in it.

// A slot is the party's until its last callback has returned: only then the low half of its word is empty again.
static bool may_call(knap_slot_t *slot, const knap_party_t *party) {
   uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
   if (!(uint32_t)word) return false;
   uint32_t serial = WORD_SERIAL(word);
   // What is being cleaned belongs to nobody that can be asked; it is over in a moment.
   if (!knap_slot_change(slot, serial, 0, 0, 0, WORD_REF, NULL)) return true;
   bool concerns = slot->caller_party == party || atomic_load(&slot->target)->party == party;
   knap_slot_release(slot);
   return concerns;
}

bool knap_party_idle(knap_party_t *party) {
   atomic_thread_fence(memory_order_seq_cst);
   for (uint32_t number = 0; number < KNAP_MAX_CHUNKS; number++) {
      knap_slot_t *chunk = atomic_load_explicit(&party->engine->chunks[number], memory_order_acquire);
      if (!chunk) break;
      for (uint32_t i = 0; i < KNAP_CHUNK_SLOTS; i++)
         if (may_call(&chunk[i], party)) return false;
   }
   return true;
}

static void pause_for(long nanoseconds) { nanosleep(&(struct timespec){0, nanoseconds}, NULL); }

bool knap_engine_left(knap_engine_t *engine, uint64_t limit_ns) {
   uint64_t end = knap_now_ns() + limit_ns;
   atomic_thread_fence(memory_order_seq_cst);
   pthread_mutex_lock(&engine->lock);
   knap_thread_t *thread = engine->threads; // grows at its head; those that come now have never been in that code
   pthread_mutex_unlock(&engine->lock);
   for (; thread; thread = thread->next)
      for (uint32_t looks = 0; (uint16_t)atomic_load_explicit(&thread->frames, memory_order_acquire); looks++) {
         if (knap_now_ns() >= end) return false;
         pause_for(looks < 100 ? 10000 : 1000000);
      }
   return true;
}
