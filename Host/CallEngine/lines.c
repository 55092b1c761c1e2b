#include "hot.h"
#include <stdlib.h>

// Calls that wait: for a place, for a gate to open, or for the time of a retry. A call that is given up leaves its line
// at once; so a slot says where its call waits, and whoever takes that entry, under the line lock, has the callee's part.

knap_waiting_t *knap_waiting_make(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer) {
   knap_waiting_t *waiting = calloc(1, sizeof *waiting);
   if (!waiting) return NULL;
   waiting->slot = slot;
   waiting->body = knap_buffers.keep(NULL, body, buffer, &waiting->bytes);
   if (waiting->body) return waiting;
   free(waiting);
   return NULL;
}

void knap_waiting_free(knap_waiting_t *waiting) {
   if (!waiting) return;
   knap_buffer_drop(waiting->body);
   free(waiting);
}

bool knap_line_append(knap_line_t *line, knap_bulkhead_t *bulkhead, knap_waiting_t *waiting) {
   waiting->line = line;
   waiting->bulkhead = bulkhead;
   waiting->next = NULL;
   if (line) {
      waiting->previous = line->last;
      if (line->last) line->last->next = waiting;
      else line->first = waiting;
      line->last = waiting;
      line->count++;
   }
   knap_slot_t *slot = waiting->slot;
   atomic_store_explicit(&slot->waiting, waiting, memory_order_seq_cst);
   // Whoever gives the call up in between either sees where it waits or is seen here.
   if (!(atomic_load_explicit(&slot->word, memory_order_seq_cst) & WORD_ANSWERED)) return true;
   knap_line_remove(waiting);
   return false;
}

void knap_line_remove(knap_waiting_t *waiting) {
   knap_line_t *line = waiting->line;
   if (line) {
      if (waiting->previous) waiting->previous->next = waiting->next;
      else line->first = waiting->next;
      if (waiting->next) waiting->next->previous = waiting->previous;
      else line->last = waiting->previous;
      line->count--;
   }
   if (waiting->bulkhead) {
      atomic_fetch_sub_explicit(&waiting->party->queued, 1, memory_order_relaxed);
      knap_forget_waiting(&waiting->holders, waiting->party);
      if (!line->first) atomic_fetch_and_explicit(&waiting->bulkhead->alert, ~(unsigned)ALERT_QUEUE, memory_order_seq_cst);
   }
   waiting->bulkhead = NULL;
   waiting->line = NULL;
   atomic_store_explicit(&waiting->slot->waiting, NULL, memory_order_seq_cst);
}

// With the line lock held.
static knap_waiting_t *waiting_of(knap_slot_t *slot, uint32_t serial) {
   knap_waiting_t *waiting = atomic_load_explicit(&slot->waiting, memory_order_seq_cst);
   return waiting && WORD_SERIAL(knap_word(slot)) == serial ? waiting : NULL;
}

knap_waiting_t *knap_waiting_take(knap_slot_t *slot, uint32_t serial) {
   if (!atomic_load_explicit(&slot->waiting, memory_order_seq_cst)) return NULL;
   knap_engine_t *engine = slot->caller_party->engine;
   pthread_mutex_lock(&engine->line_lock);
   knap_waiting_t *waiting = waiting_of(slot, serial);
   if (waiting) knap_line_remove(waiting);
   pthread_mutex_unlock(&engine->line_lock);
   if (waiting) knap_timer_remove(engine, &waiting->timer);
   return waiting;
}

knap_where_t knap_waiting_where(knap_slot_t *slot, uint32_t serial) {
   if (!atomic_load_explicit(&slot->waiting, memory_order_seq_cst)) return NOWHERE;
   knap_engine_t *engine = slot->caller_party->engine;
   pthread_mutex_lock(&engine->line_lock);
   knap_waiting_t *waiting = waiting_of(slot, serial);
   knap_where_t where = !waiting ? NOWHERE : waiting->bulkhead ? IN_LINE : waiting->line ? AT_GATE : FOR_RETRY;
   pthread_mutex_unlock(&engine->line_lock);
   return where;
}
