#include "hot.h"
#include <stdlib.h>

// Plugin frames on a thread's stack. What would go deeper than KNAP_MAX_DEPTH is put off until the thread leaves its
// outermost frame; then it runs at depth one, in the order in which it was put off.

static void run(knap_deferred_t *work) {
   switch (work->kind) {
      case DEFER_ANSWER:
         knap_deliver(work->slot, &work->answer->result); // and its reference
         knap_answer_free(work->answer);
         return;
      case DEFER_CALL:
         knap_run(work->slot, (knap_bytes_t){work->body->bytes, work->body->size}, work->body);
         knap_buffer_drop(work->body);
         return;
      case DEFER_TURN:
         knap_turn(work->bulkhead, NULL);
         return;
      case DEFER_CREDIT_CALLER:
      case DEFER_CREDIT_CALLEE:
         knap_tell_credit(work->slot, WORD_SERIAL(knap_word(work->slot)), work->kind == DEFER_CREDIT_CALLER);
         break;
   }
   knap_slot_release(work->slot);
}

void knap_frames_drain(knap_thread_t *self) {
   while (self->first) {
      knap_deferred_t *work = self->first;
      self->first = work->next;
      if (!self->first) self->last = NULL;
      run(work);
      free(work);
   }
}

void knap_defer(knap_thread_t *self, knap_deferred_t work) {
   knap_deferred_t *kept = malloc(sizeof *kept);
   if (!kept) { // no memory to put it off: deeper is better than lost
      run(&work);
      return;
   }
   *kept = work;
   kept->next = NULL;
   if (self->last) self->last->next = kept;
   else self->first = kept;
   self->last = kept;
}

static const knap_answer_t exhausted = {
   .result = {.size = sizeof(knap_result_t), .status = KNAP_RESOURCE_EXHAUSTED,
              .message = {"out of memory while an answer was copied", 40}}};

knap_answer_t *knap_answer_copy(const knap_result_t *result) {
   knap_answer_t *answer = calloc(1, sizeof *answer);
   if (!answer) return (knap_answer_t *)&exhausted;
   answer->result = *result;
   knap_bytes_t body = result->body;
   answer->body = knap_buffers.keep(NULL, body, result->buffer, &body);
   answer->content_type = knap_buffer_copy(result->content_type.data, result->content_type.size);
   answer->message = knap_buffer_copy(result->message.data, result->message.size);
   if (!answer->body || !answer->content_type || !answer->message) {
      knap_answer_free(answer);
      return (knap_answer_t *)&exhausted;
   }
   answer->result.body = body;
   answer->result.buffer = answer->body;
   answer->result.content_type.data = (const char *)answer->content_type->bytes;
   answer->result.message.data = (const char *)answer->message->bytes;
   return answer;
}

void knap_answer_free(knap_answer_t *answer) {
   if (answer == &exhausted) return;
   knap_buffer_drop(answer->body);
   knap_buffer_drop(answer->content_type);
   knap_buffer_drop(answer->message);
   free(answer);
}
