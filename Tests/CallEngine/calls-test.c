// Exercises the call engine the way its users do: inline and late completion, streams, cancellation, deadlines, misuse
// and threads that race. Built plain, with AddressSanitizer and with ThreadSanitizer by Tests/CallEngine/run.
#include "harness.h"
#include <sched.h>

static void an_inline_call_answers_before_call_returns(void) {
   setup();
   uint64_t binding = provide("b.echo", echo, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   outgoing.body = (knap_bytes_t){(const uint8_t *)"hello", 5};
   EQUAL(knap_engine_call(A, binding, &outgoing, NULL), KNAP_OK);
   EQUAL(seen.completions, 1);
   CHECK(!strcmp(seen.body, "hello"));
   EQUAL(in_flight(), 0);
   EQUAL(knap_engine_call(A, 99, &outgoing, NULL), KNAP_INVALID_ARGUMENT);
   knap_party_open(bob, 0);
   EQUAL(knap_engine_call(A, binding, &outgoing, NULL), KNAP_OK);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   knap_engine_destroy(engine);
}

static void a_second_completion_and_a_stale_handle_are_refused(void) {
   setup();
   uint64_t binding = provide("b.hold", hold, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.completions, 0);
   EQUAL(A->calls->complete(A, held, NULL), KNAP_PERMISSION_DENIED);
   EQUAL(B->calls->complete(B, held, NULL), KNAP_OK);
   EQUAL(B->calls->complete(B, held, NULL), KNAP_FAILED_PRECONDITION);
   EQUAL(B->calls->complete(B, 0, NULL), KNAP_FAILED_PRECONDITION);
   EQUAL(B->calls->complete(B, ~0ull, NULL), KNAP_FAILED_PRECONDITION);
   EQUAL(seen.completions, 1);
   knap_party_counts_t counts;
   knap_party_count(bob, &counts);
   EQUAL(counts.misused, 3);
   knap_engine_destroy(engine);
}

static void a_cancelled_call_answers_at_once_and_the_late_result_is_dropped(void) {
   setup();
   cancels = closes = 0;
   uint64_t binding = provide("b.hold", hold_listening, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_call_t call;
   knap_engine_call(A, binding, &outgoing, &call);
   EQUAL(B->calls->cancel(B, call), KNAP_PERMISSION_DENIED);
   EQUAL(A->calls->cancel(A, call), KNAP_OK);
   EQUAL(seen.completions, 1);
   EQUAL(seen.status, KNAP_CANCELLED);
   EQUAL(cancels, 1);
   EQUAL(closes, 0);
   EQUAL(in_flight(), 1);
   EQUAL(B->calls->complete(B, held, NULL), KNAP_CANCELLED);
   EQUAL(closes, 1);
   EQUAL(in_flight(), 0);
   EQUAL(seen.completions, 1);
   knap_engine_destroy(engine);
}

static void a_cancel_handler_registered_after_the_cancel_fires_at_once(void) {
   setup();
   cancels = closes = 0;
   uint64_t binding = provide("b.hold", hold, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_call_t call;
   knap_engine_call(A, binding, &outgoing, &call);
   A->calls->cancel(A, call);
   EQUAL(B->calls->listen(B, held, &callee, NULL), KNAP_OK);
   EQUAL(cancels, 1);
   B->calls->complete(B, held, NULL);
   EQUAL(closes, 1);
   knap_engine_destroy(engine);
}

static void a_deadline_answers_the_caller_and_keeps_the_slot(void) {
   setup();
   uint64_t binding = provide("b.hold", hold, NULL, 0, 5000000);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, binding, &outgoing, NULL);
   seen_wait(&seen);
   EQUAL(seen.status, KNAP_DEADLINE_EXCEEDED);
   EQUAL(in_flight(), 1);
   EQUAL(B->calls->complete(B, held, NULL), KNAP_CANCELLED);
   seen_init(&seen);
   outgoing = to(&seen);
   outgoing.deadline_ns = 1;
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_DEADLINE_EXCEEDED);
   knap_engine_destroy(engine);
}

static void a_child_inherits_and_a_foreign_parent_is_refused(void) {
   setup();
   uint64_t binding = provide("b.hold", hold, NULL, 0, 0);
   seen_t seen, child;
   seen_init(&seen);
   seen_init(&child);
   knap_outgoing_t outgoing = to(&seen);
   outgoing.principal = (knap_text_t){"ann", 3};
   outgoing.deadline_ns = knap_now_ns() + 60000000000ull;
   knap_engine_call(A, binding, &outgoing, NULL);
   knap_call_t parent = held;
   knap_route_t *route = knap_route_named(engine, "b.hold");
   uint64_t own = knap_party_bind(bob, route);
   knap_outgoing_t inner = to(&child);
   inner.parent = parent;
   inner.deadline_ns = knap_now_ns() + 90000000000ull;
   EQUAL(knap_engine_call(A, binding, &inner, NULL), KNAP_INVALID_ARGUMENT);
   EQUAL(knap_engine_call(B, own, &inner, NULL), KNAP_OK);
   knap_call_info_t info = {.size = sizeof info};
   EQUAL(B->calls->info(B, held, &info), KNAP_OK);
   CHECK(info.principal.size == 3 && !memcmp(info.principal.data, "ann", 3));
   EQUAL(info.deadline_ns, outgoing.deadline_ns);
   B->calls->complete(B, held, NULL);
   B->calls->complete(B, parent, NULL);
   EQUAL(knap_engine_call(B, own, &inner, NULL), KNAP_INVALID_ARGUMENT);
   outgoing.principal = (knap_text_t){"eve", 3};
   EQUAL(knap_engine_call(B, own, &outgoing, NULL), KNAP_PERMISSION_DENIED);
   knap_engine_destroy(engine);
}

static void a_million_items_with_a_credit_of_one_use_no_stack(void) {
   setup();
   callee_items = half_closes = 0;
   uint64_t binding = provide("b.hold", hold_listening, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   outgoing.flags = KNAP_OUTGOING_STREAMS;
   knap_call_t call;
   knap_engine_call(A, binding, &outgoing, &call);
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA};
   int refused = 0;
   for (int i = 0; i < 1000000; i++) {
      if (A->calls->send(A, call, &item) != KNAP_OK) refused++;
      if (B->calls->send(B, held, &item) != KNAP_OK) refused++;
   }
   EQUAL(refused, 0);
   EQUAL(callee_items, 1000000);
   EQUAL(seen.items, 1000000);
   EQUAL(A->calls->half_close(A, call), KNAP_OK);
   EQUAL(half_closes, 1);
   EQUAL(A->calls->send(A, call, &item), KNAP_FAILED_PRECONDITION);
   B->calls->complete(B, held, NULL);
   EQUAL(B->calls->send(B, held, &item), KNAP_CANCELLED);
   knap_engine_destroy(engine);
}

static void a_full_window_refuses_and_calls_back_once_there_is_credit(void) {
   setup();
   uint64_t binding = provide("b.hold", hold, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   outgoing.flags = KNAP_OUTGOING_STREAMS;
   knap_call_t call;
   knap_engine_call(A, binding, &outgoing, &call);
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA};
   EQUAL(A->calls->send(A, call, &item), KNAP_RESOURCE_EXHAUSTED);
   EQUAL(seen.credits, 0);
   B->calls->listen(B, held, &callee, NULL);
   B->calls->grant(B, held, 1);
   EQUAL(seen.credits, 1);
   B->calls->grant(B, held, 1);
   EQUAL(seen.credits, 1);
   EQUAL(A->calls->send(A, call, &item), KNAP_OK);
   B->calls->complete(B, held, NULL);
   knap_engine_destroy(engine);
}

// A method that calls itself `left` times deep and completes when the child does.
static uint64_t deep_binding;
static uint32_t deepest;
static __thread uint32_t depth_now;
static void deep_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   B->calls->complete(B, (knap_call_t)(uintptr_t)context, result);
}
static void deep_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void deep_credit(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_caller_t deep_caller = {sizeof deep_caller, 0, deep_done, deep_item, deep_credit};
static void deep(void *instance, const knap_request_t *request) {
   (void)instance;
   uint32_t left;
   memcpy(&left, request->body.data, 4);
   if (++depth_now > deepest) deepest = depth_now;
   if (left == 0) B->calls->complete(B, request->call, NULL);
   else {
      left--;
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .parent = request->call, .body = {(const uint8_t *)&left, 4},
                                  .caller = &deep_caller, .context = (void *)(uintptr_t)request->call};
      knap_engine_call(B, deep_binding, &outgoing, NULL);
   }
   depth_now--;
}
static void a_chain_of_200_calls_runs_at_most_16_frames_deep(void) {
   setup();
   deepest = 0;
   uint64_t binding = provide("b.deep", deep, NULL, 0, 0);
   deep_binding = knap_party_bind(bob, knap_route_named(engine, "b.deep"));
   seen_t seen;
   seen_init(&seen);
   uint32_t left = 200;
   knap_outgoing_t outgoing = to(&seen);
   outgoing.body = (knap_bytes_t){(const uint8_t *)&left, 4};
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.completions, 1);
   EQUAL(seen.status, KNAP_OK);
   CHECK(deepest <= 16);
   EQUAL(in_flight(), 0);
   knap_engine_destroy(engine);
}

static void a_blocking_method_runs_on_the_pool(void) {
   setup();
   uint64_t binding = provide("b.echo", echo, NULL, KNAP_ROUTE_BLOCKING, 1000000000);
   seen_t seen[50];
   for (int i = 0; i < 50; i++) {
      seen_init(&seen[i]);
      knap_outgoing_t outgoing = to(&seen[i]);
      char body[] = "pool";
      outgoing.body = (knap_bytes_t){(const uint8_t *)body, 4};
      knap_engine_call(A, binding, &outgoing, NULL);
      memset(body, 'x', 4);
   }
   for (int i = 0; i < 50; i++) {
      seen_wait(&seen[i]);
      CHECK(!strcmp(seen[i].body, "pool"));
   }
   knap_engine_destroy(engine);
}

static void the_bulkhead_refuses_past_its_limit_exactly(void) {
   setup();
   uint64_t binding = provide("b.hold", hold, NULL, 0, 0);
   static knap_call_t calls[600];
   static seen_t seen[600];
   int refused = 0;
   for (int i = 0; i < 600; i++) {
      seen_init(&seen[i]);
      knap_outgoing_t outgoing = to(&seen[i]);
      knap_engine_call(A, binding, &outgoing, NULL);
      calls[i] = held;
      if (seen[i].completions) {
         refused++;
         EQUAL(seen[i].status, KNAP_RESOURCE_EXHAUSTED);
         calls[i] = 0;
      }
   }
   // One thread may use all but the one permit that each of the 63 other cells keeps for its threads.
   EQUAL(in_flight(), 512 - 63);
   EQUAL(in_flight(), 600 - refused);
   for (int i = 0; i < 600; i++) if (calls[i]) B->calls->complete(B, calls[i], NULL);
   EQUAL(in_flight(), 0);
   knap_engine_destroy(engine);
}

static void the_breaker_opens_on_plugin_failures_and_closes_after_a_success(void) {
   setup();
   knap_status_t status = KNAP_NOT_FOUND;
   uint64_t binding = provide("b.fail", fail, &status, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   for (int i = 0; i < 20; i++) knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_NOT_FOUND);
   status = KNAP_INTERNAL;
   for (int i = 0; i < 5; i++) knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_INTERNAL);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   status = KNAP_OK;
   for (uint64_t end = knap_now_ns() + 5000000000ull; seen.status != KNAP_OK && knap_now_ns() < end;)
      knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_OK);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_OK);
   knap_engine_destroy(engine);
}

static atomic_int begun, ended;
static void begin(void *instance, const knap_observation_t *call) { (void)instance; (void)call; begun++; }
static void end(void *instance, const knap_observation_t *call) {
   (void)instance;
   CHECK(call->end_ns >= call->start_ns);
   ended++;
}
static knap_status_t deny(void *instance, const knap_call_info_t *call, knap_bytes_t body, knap_text_t *message) {
   (void)call; (void)body;
   *message = (knap_text_t){"not today", 9};
   return *(knap_status_t *)instance;
}
static void observers_see_every_call_and_interceptors_fail_closed(void) {
   setup();
   begun = ended = 0;
   knap_party_t *guard = knap_party_create(engine, &(knap_party_config_t){.name = "guard"});
   knap_party_open(guard, 1);
   knap_plugin_observe_t observe = {sizeof observe, 0, begin, end};
   knap_plugin_intercept_t intercept = {sizeof intercept, 0, deny};
   knap_status_t status = KNAP_OK;
   knap_hooked_t hooked = {&status, &observe, &intercept, guard};
   knap_engine_hooks(engine, &hooked, 1, NULL);
   uint64_t binding = provide("b.echo", echo, NULL, 0, 0);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_OK);
   EQUAL(begun, 1);
   EQUAL(ended, 1);
   status = KNAP_PERMISSION_DENIED;
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_PERMISSION_DENIED);
   knap_party_open(guard, 0);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   EQUAL(in_flight(), 0);
   knap_engine_hooks(engine, NULL, 0, NULL);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(seen.status, KNAP_OK);
   knap_engine_destroy(engine);
}

static void timers_fire_once_and_can_be_stopped(void) {
   setup();
   atomic_int fired = 0;
   uint64_t late, soon;
   EQUAL(knap_engine_timer(A, knap_now_ns() + 60000000000ull, count_fire, &fired, &late), KNAP_OK);
   EQUAL(knap_engine_timer(A, knap_now_ns() + 1000000, count_fire, &fired, &soon), KNAP_OK);
   for (uint64_t until = knap_now_ns() + 5000000000ull; !fired && knap_now_ns() < until;);
   EQUAL(fired, 1);
   EQUAL(knap_engine_timer_stop(A, soon), KNAP_NOT_FOUND);
   EQUAL(knap_engine_timer_stop(B, late), KNAP_NOT_FOUND);
   EQUAL(knap_engine_timer_stop(A, late), KNAP_OK);
   EQUAL(knap_engine_timer_stop(A, late), KNAP_NOT_FOUND);
   knap_engine_destroy(engine);
}

// ## Races: callers cancel, callees complete, deadlines pass, all at once; every call still ends exactly once.
enum { RING = 64 };
static _Atomic knap_call_t ring[RING];
static atomic_uint ring_at;
static atomic_bool done;
static void pile(void *instance, const knap_request_t *request) {
   (void)instance;
   uint32_t at = ring_at++ % RING;
   if (at & 1) B->calls->listen(B, request->call, &callee, NULL);
   knap_call_t old = atomic_exchange(&ring[at], request->call);
   if (old) B->calls->complete(B, old, NULL);
}
static void *finish(void *unused) {
   (void)unused;
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA};
   for (unsigned i = 0; !done; i = i * 1664525u + 1013904223u) {
      knap_call_t call = atomic_exchange(&ring[(i >> 16) % RING], 0);
      if (!call) continue;
      if (i & 4096) B->calls->send(B, call, &item);
      B->calls->complete(B, call, NULL);
   }
   return NULL;
}
static uint64_t race_binding;
static atomic_int race_started, race_ended;
static void race_complete(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call; (void)result;
   atomic_int *once = context;
   if (atomic_fetch_add(once, 1) != 0) abort();
   race_ended++;
   free(context); // the last callback: a later one would be a use after free
}
static void race_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)item;
   if (atomic_load((atomic_int *)context)) abort();
   if (call & 64) A->calls->cancel(A, call);
}
static const knap_caller_t racer = {sizeof racer, 0, race_complete, race_item, on_credit};
static void *start_calls(void *seed) {
   unsigned random = (unsigned)(uintptr_t)seed;
   for (int i = 0; i < 20000; i++) {
      random = random * 1664525u + 1013904223u;
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .credit = 1, .caller = &racer, .context = calloc(1, sizeof(atomic_int))};
      if (random & 65536) outgoing.deadline_ns = knap_now_ns() + (random >> 20) * 100;
      knap_call_t call;
      race_started++;
      if (knap_engine_call(A, race_binding, &outgoing, &call) != KNAP_OK) { race_started--; free(outgoing.context); continue; }
      if (random & 131072) A->calls->cancel(A, call);
   }
   return NULL;
}
static void racing_threads_end_every_call_exactly_once(void) {
   setup();
   race_started = race_ended = 0;
   done = false;
   cancels = closes = 0;
   for (int i = 0; i < RING; i++) ring[i] = 0;
   race_binding = provide("b.pile", pile, NULL, 0, 0);
   pthread_t threads[4];
   pthread_create(&threads[0], NULL, start_calls, (void *)1);
   pthread_create(&threads[1], NULL, start_calls, (void *)2);
   pthread_create(&threads[2], NULL, finish, NULL);
   pthread_create(&threads[3], NULL, finish, NULL);
   pthread_join(threads[0], NULL);
   pthread_join(threads[1], NULL);
   done = true;
   pthread_join(threads[2], NULL);
   pthread_join(threads[3], NULL);
   for (int i = 0; i < RING; i++) if (ring[i]) B->calls->complete(B, ring[i], NULL);
   for (uint64_t end = knap_now_ns() + 5000000000ull; race_ended < race_started && knap_now_ns() < end;);
   EQUAL(race_ended, race_started);
   EQUAL(in_flight(), 0);
   knap_engine_destroy(engine);
}

// ## Size

static void answer_too_much(void *instance, const knap_request_t *request) {
   knap_result_t result = {.size = sizeof result, .body = {instance, KNAP_BODY_LARGEST + 1ull}};
   EQUAL(B->calls->complete(B, request->call, &result), KNAP_OK);
}
static void a_body_that_is_too_large_is_refused_wherever_it_goes(void) {
   setup();
   static seen_t seen;
   seen_init(&seen);
   uint8_t *large = calloc(1, KNAP_BODY_LARGEST + 1ull);
   uint64_t echoing = provide("b.echo", echo, NULL, 0, 0), much = provide("b.much", answer_too_much, large, 0, 0);
   knap_outgoing_t outgoing = to(&seen);
   outgoing.body = (knap_bytes_t){large, KNAP_BODY_LARGEST};
   EQUAL(knap_engine_call(A, echoing, &outgoing, NULL), KNAP_OK);
   EQUAL(seen.status, KNAP_OK);
   outgoing.body.size++;
   EQUAL(knap_engine_call(A, echoing, &outgoing, NULL), KNAP_OK);
   EQUAL(seen.status, KNAP_INVALID_ARGUMENT);
   CHECK(strstr(seen.message, "b.echo has 67108865 bytes, more than the 64 MiB"));
   CHECK(!strcmp(seen.body, "{\"class\":\"caller\",\"retry\":false,\"may_have_run\":false}"));
   outgoing.body.size = 0;
   EQUAL(knap_engine_call(A, much, &outgoing, NULL), KNAP_OK);
   EQUAL(seen.status, KNAP_RESOURCE_EXHAUSTED);
   CHECK(strstr(seen.message, "64 MiB"));
   // An item is refused, and the call goes on.
   uint64_t listening = provide("b.listen", hold_listening, NULL, 0, 0);
   knap_call_t call;
   outgoing.flags = KNAP_OUTGOING_STREAMS;
   EQUAL(knap_engine_call(A, listening, &outgoing, &call), KNAP_OK);
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {large, KNAP_BODY_LARGEST + 1ull}};
   EQUAL(A->calls->send(A, call, &item), KNAP_INVALID_ARGUMENT);
   EQUAL(B->calls->send(B, held, &item), KNAP_INVALID_ARGUMENT);
   item.body.size--;
   EQUAL(A->calls->send(A, call, &item), KNAP_OK);
   EQUAL(B->calls->complete(B, held, NULL), KNAP_OK);
   EQUAL(seen.completions, 4);
   EQUAL(in_flight(), 0);
   free(large);
   knap_engine_destroy(engine);
}

int main(void) {
   an_inline_call_answers_before_call_returns();
   a_second_completion_and_a_stale_handle_are_refused();
   a_cancelled_call_answers_at_once_and_the_late_result_is_dropped();
   a_cancel_handler_registered_after_the_cancel_fires_at_once();
   a_deadline_answers_the_caller_and_keeps_the_slot();
   a_child_inherits_and_a_foreign_parent_is_refused();
   a_million_items_with_a_credit_of_one_use_no_stack();
   a_full_window_refuses_and_calls_back_once_there_is_credit();
   a_chain_of_200_calls_runs_at_most_16_frames_deep();
   a_blocking_method_runs_on_the_pool();
   the_bulkhead_refuses_past_its_limit_exactly();
   the_breaker_opens_on_plugin_failures_and_closes_after_a_success();
   observers_see_every_call_and_interceptors_fail_closed();
   timers_fire_once_and_can_be_stopped();
   racing_threads_end_every_call_exactly_once();
   a_body_that_is_too_large_is_refused_wherever_it_goes();
   return outcome();
}
