// Calls, whatever their inputs and whoever makes them.
#include "instance.h"
#include <unistd.h>

static bool is_own_failure(const answer_t *answer) { return answer->status == KNAP_INTERNAL || answer->status == KNAP_UNKNOWN; }

static void call_well(run_t *run, const method_t *method, const char *input) {
   answer_t answer = {0};
   if (!call(run, method, bytes_of(input), &answer)) return;
   if (is_own_failure(&answer) && !subject.requires_services)
      fault("%s answered %d (%.200s) to %.200s", method->name, answer.status, answer.message, input);
   if (answer.status != KNAP_OK && !answer.message[0])
      warn("%s failed with %d and no message for %.200s; say what happened and what to do", method->name, answer.status, input);
   report_answer(method, input, answer.status, (knap_bytes_t){(const uint8_t *)answer.body, answer.size});
   answer_free(&answer);
}
void test_calls(void) { with_inputs(INPUTS_VALID, call_well); }

// What the host would not let through.
static void call_wrongly(run_t *run, const method_t *method, const char *input) {
   answer_t answer = {0};
   if (!call(run, method, bytes_of(input), &answer)) return;
   if (is_own_failure(&answer))
      warn("%s answered %d (%.200s) to %.200s; INVALID_ARGUMENT says whose mistake it is", method->name, answer.status, answer.message,
           input);
   answer_free(&answer);
}
void test_wrong_input(void) { with_inputs(INPUTS_INVALID, call_wrongly); }

static void call_with_garbage(run_t *run, const method_t *method, const char *input) {
   (void)input;
   enum { MEGABYTE = 1 << 20 };
   char    *large = malloc(MEGABYTE);
   unsigned seed = subject.seed;
   for (int round = 0; round < 40; round++) {
      uint64_t size = (uint64_t)rand_r(&seed) % 200;
      for (uint64_t i = 0; i < size; i++) large[i] = (char)(round % 2 ? rand_r(&seed) : "{}[]\",:\\u01ae-. "[rand_r(&seed) % 17]);
      if (round == 0) size = 0;
      if (round == 1) memset(large, '[', size = MEGABYTE);
      if (round == 2) memset(large, '"', 1), memset(large + 1, 'a', MEGABYTE - 2), large[MEGABYTE - 1] = '"', size = MEGABYTE;
      answer_t answer = {0};
      if (call(run, method, (knap_bytes_t){(uint8_t *)large, size}, &answer)) answer_free(&answer);
   }
   free(large);
}
void test_garbage(void) { with_inputs(INPUTS_NONE, call_with_garbage); }

typedef struct {
   run_t          *run;
   const method_t *method;
   const char     *input;
} caller_t;

// A method that blocks is given a thread, as a host does.
static void *call_often(void *context) {
   caller_t *caller = context;
   for (int round = 0; round < 20; round++) {
      answer_t answer = {0};
      if (call(caller->run, caller->method, bytes_of(caller->input), &answer)) answer_free(&answer);
   }
   return NULL;
}

static void call_from_threads(run_t *run, const method_t *method, const char *input) {
   enum { THREADS = 8 };
   caller_t  caller = {run, method, input};
   pthread_t all[THREADS];
   for (int i = 0; i < THREADS; i++) pthread_create(&all[i], NULL, call_often, &caller);
   for (int i = 0; i < THREADS; i++) pthread_join(all[i], NULL);
}
void test_threads(void) { with_inputs(INPUTS_FIRST, call_from_threads); }

static void call_and_cancel(run_t *run, const method_t *method, const char *input) {
   for (int round = 0; round < 10; round++) {
      knap_call_t made = begin(run, method, bytes_of(input));
      if (!made) return;
      host_cancel(run->host, made, round % 2 ? KNAP_CANCELLED : KNAP_DEADLINE_EXCEEDED);
      answer_t answer = {0};
      host_wait(run->host, made, 5 * SECOND, &answer);
      answer_free(&answer);
   }
}
void test_cancel(void) { with_inputs(INPUTS_FIRST, call_and_cancel); }

static void call_with_a_watch(run_t *run, const method_t *method, const char *input) {
   if (method->blocks) return;
   uint64_t best = UINT64_MAX;
   for (int round = 0; round < 20; round++) {
      uint64_t    began = now_ns();
      knap_call_t made = begin(run, method, bytes_of(input));
      uint64_t    took = now_ns() - began;
      if (!made) return;
      if (took < best) best = took;
      answer_t answer = {0};
      finish(run, method, made, &answer);
      answer_free(&answer);
   }
   double milliseconds = (double)best / (double)MILLISECOND;
   if (milliseconds > 20)
      fault("%s holds the host's thread for %.0f ms; say \"blocking\": true in the manifest, or answer later", method->name, milliseconds);
   else if (milliseconds > 1)
      warn("%s holds the host's thread for %.1f ms; a method that does not block returns within one", method->name, milliseconds);
}
void test_blocking(void) { with_inputs(INPUTS_FIRST, call_with_a_watch); }

// One item at a time, as a slow reader takes them; who never ends is told to.
static void call_with_items(run_t *run, const method_t *method, const char *input) {
   knap_call_t made = begin(run, method, bytes_of(input));
   if (!made) return;
   for (int i = 0; i < 3; i++) host_send(run->host, made, bytes_of(input));
   host_half_close(run->host, made);
   uint64_t end = now_ns() + 2 * SECOND;
   while (!host_ended(run->host, made) && now_ns() < end && host_items(run->host, made) < 1000) {
      host_grant(run->host, made, 1);
      usleep(100);
   }
   if (!host_ended(run->host, made)) host_cancel(run->host, made, KNAP_CANCELLED);
   answer_t answer = {0};
   host_wait(run->host, made, 5 * SECOND, &answer);
   answer_free(&answer);
}
void test_streams(void) { with_inputs(INPUTS_FIRST, call_with_items); }
