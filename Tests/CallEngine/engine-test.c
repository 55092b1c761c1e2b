// Exercises the call engine the way its users do: inline and late completion, streams, cancellation, deadlines, misuse
// and threads that race. Built plain, with AddressSanitizer and with ThreadSanitizer by Tests/CallEngine/run.
#include "harness.h"
#include <sched.h>
#include <unistd.h>

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

static void fail(void *instance, const knap_request_t *request) {
   knap_result_t result = {.size = sizeof result, .status = *(knap_status_t *)instance};
   B->calls->complete(B, request->call, &result);
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

static void count_fire(void *context) { (*(atomic_int *)context)++; }
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
static void race_credit(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_caller_t racer = {sizeof racer, 0, race_complete, race_item, race_credit};
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

// ## Gates

static knap_party_t *carol;
static uint64_t in_flight_of(knap_party_t *party) {
   knap_party_counts_t counts;
   knap_party_count(party, &counts);
   return counts.in_flight;
}

// Answers with the name of the party that `instance` is.
static void say_who(void *instance, const knap_request_t *request) {
   const char *name = instance == bob ? "bob" : "carol";
   const knap_host_t *host = knap_party_host(instance);
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)name, strlen(name)}};
   host->calls->complete(host, request->call, &result);
}
static const knap_method_t who = {.size = sizeof who, .name = "who", .call = say_who};
static knap_route_t *who_route;

static uint64_t setup_who(void) {
   setup();
   carol = knap_party_create(engine, &(knap_party_config_t){.name = "carol"});
   who_route = knap_route_named(engine, "test.who");
   knap_route_provide(engine, who_route, &(knap_provision_t){.party = bob, .method = &who, .instance = bob});
   return knap_party_bind(alice, who_route);
}

static void calls_wait_at_a_closed_gate_and_go_to_the_new_provider(void) {
   uint64_t binding = setup_who();
   knap_gate_t *gate = knap_gate_close(engine, &bob, 1);
   seen_t first, second, cancelled, late;
   seen_init(&first), seen_init(&second), seen_init(&cancelled), seen_init(&late);
   knap_outgoing_t outgoing = to(&first);
   knap_call_t call;
   EQUAL(knap_engine_call(A, binding, &outgoing, NULL), KNAP_OK);
   outgoing = to(&cancelled);
   knap_engine_call(A, binding, &outgoing, &call);
   outgoing = to(&late);
   outgoing.deadline_ns = knap_now_ns() + 500000000;
   knap_engine_call(A, binding, &outgoing, NULL);
   outgoing = to(&second);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(first.completions, 0);
   EQUAL(knap_gate_waiting(gate), 4);
   CHECK(knap_party_gated(bob) && !knap_party_gated(carol));
   EQUAL(in_flight(), 0);
   A->calls->cancel(A, call);
   EQUAL(cancelled.status, KNAP_CANCELLED);
   seen_wait(&late);
   EQUAL(late.status, KNAP_DEADLINE_EXCEEDED);
   knap_party_open(carol, 1);
   knap_route_provide(engine, who_route, &(knap_provision_t){.party = carol, .method = &who, .instance = carol});
   knap_gate_open(gate);
   CHECK(!knap_party_gated(bob)); // or calls that a new route leads to it would go round and round
   EQUAL(first.completions, 1);
   CHECK(!strcmp(first.body, "carol"));
   CHECK(!strcmp(second.body, "carol"));
   EQUAL(cancelled.completions, 1);
   EQUAL(late.completions, 1);
   EQUAL(in_flight_of(carol), 0);
   knap_engine_destroy(engine);
}

static void a_gate_that_is_given_up_leaves_the_old_provider(void) {
   uint64_t binding = setup_who();
   knap_gate_t *gate = knap_gate_close(engine, &bob, 1);
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, binding, &outgoing, NULL);
   knap_party_open(bob, 1);
   CHECK(!knap_party_gated(bob));
   knap_gate_open(gate);
   CHECK(!strcmp(seen.body, "bob"));
   knap_engine_destroy(engine);
}

static void what_descends_from_a_call_behind_the_gate_passes_it(void) {
   uint64_t binding = setup_who();
   uint64_t hold_binding = provide("hold", hold, NULL, 0, 0);
   seen_t outer, inner, stranger;
   seen_init(&outer), seen_init(&inner), seen_init(&stranger);
   knap_outgoing_t outgoing = to(&outer);
   knap_engine_call(A, hold_binding, &outgoing, NULL); // in flight on bob
   knap_gate_t *gate = knap_gate_close(engine, &bob, 1);
   outgoing = to(&stranger);
   knap_engine_call(A, binding, &outgoing, NULL);
   EQUAL(stranger.completions, 0);
   uint64_t own = knap_party_bind(bob, who_route);
   outgoing = to(&inner);
   outgoing.parent = held;
   EQUAL(knap_engine_call(B, own, &outgoing, NULL), KNAP_OK);
   EQUAL(inner.completions, 1);
   CHECK(!strcmp(inner.body, "bob"));
   B->calls->complete(B, held, NULL);
   EQUAL(in_flight(), 0);
   knap_party_open(bob, 1);
   knap_gate_open(gate);
   EQUAL(stranger.completions, 1);
   knap_engine_destroy(engine);
}

static void a_call_is_taken_back_from_a_dead_party(void) {
   uint64_t binding = setup_who();
   const knap_method_t holding = {.size = sizeof holding, .name = "who", .call = hold_listening};
   knap_route_provide(engine, who_route, &(knap_provision_t){.party = bob, .method = &holding, .instance = bob});
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   int closed_before = closes;
   knap_engine_call(A, binding, &outgoing, NULL);
   knap_bytes_t body = {(const uint8_t *)"x", 1};
   CHECK(!knap_call_requeue(B, held, body, NULL, true)); // no gate is closed
   knap_gate_t *gate = knap_gate_close(engine, &bob, 1);
   CHECK(knap_call_requeue(B, held, body, NULL, true));
   EQUAL(closes - closed_before, 1);
   EQUAL(in_flight(), 0);
   EQUAL(seen.completions, 0);
   knap_party_open(bob, 1);
   knap_route_provide(engine, who_route, &(knap_provision_t){.party = bob, .method = &who, .instance = bob});
   knap_gate_open(gate);
   EQUAL(seen.completions, 1);
   CHECK(!strcmp(seen.body, "bob"));
   knap_engine_destroy(engine);
}

static atomic_int asking, answers, wrong, under_way;
static void counted(void *context, knap_call_t call, const knap_result_t *result) {
   (void)context; (void)call;
   if (result->status != KNAP_OK) wrong++;
   answers++;
}
static const knap_caller_t counting = {sizeof counting, 0, counted, race_item, race_credit};
static void *ask(void *binding) {
   int asked = 0;
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &counting};
   while (asking) {
      int called = knap_engine_call(A, (uint64_t)(uintptr_t)binding, &outgoing, NULL) == KNAP_OK;
      asked += called;
      under_way += called;
      // A gate takes 65,536 calls.
      while (asking && under_way - answers > 10000) sched_yield();
   }
   return (void *)(uintptr_t)asked;
}

// Each call was answered once, and well.
static void end_asking(pthread_t threads[4]) {
   asking = 0;
   uint64_t asked = 0;
   for (int i = 0; i < 4; i++) {
      void *count;
      pthread_join(threads[i], &count);
      asked += (uint64_t)(uintptr_t)count;
   }
   EQUAL(wrong, 0);
   EQUAL(answers, asked);
}

static void no_call_is_lost_while_providers_take_turns(void) {
   uint64_t binding = setup_who();
   asking = 1;
   answers = wrong = under_way = 0;
   pthread_t threads[4];
   for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, ask, (void *)(uintptr_t)binding);
   for (int i = 0; i < 1000; i++) {
      knap_party_t *old = i % 2 ? carol : bob, *new = i % 2 ? bob : carol;
      knap_gate_t *gate = knap_gate_close(engine, &old, 1);
      while (in_flight_of(old));
      knap_party_open(new, 1);
      knap_route_provide(engine, who_route, &(knap_provision_t){.party = new, .method = &who, .instance = new});
      knap_gate_open(gate);
   }
   end_asking(threads);
   knap_engine_destroy(engine);
}

// An old provider that must not be called once it was seen without a call in flight.
typedef struct { knap_party_t *party; atomic_int retired; } generation_t;
static atomic_int called_retired;
static void serve_generation(void *instance, const knap_request_t *request) {
   generation_t *generation = instance;
   if (generation->retired) called_retired++;
   const knap_host_t *host = knap_party_host(generation->party);
   host->calls->complete(host, request->call, NULL);
}
static const knap_method_t generational = {.size = sizeof generational, .name = "who", .call = serve_generation};

static void no_call_reaches_a_provider_that_was_replaced_without_a_gate_and_drained(void) {
   uint64_t binding = setup_who();
   generation_t *serving = NULL;
   called_retired = answers = wrong = 0;
   asking = 1;
   pthread_t threads[4];
   generation_t generations[400] = {0};
   for (int i = 0; i < 400; i++) {
      generation_t *next = &generations[i];
      next->party = i % 2 ? carol : bob;
      knap_party_open(next->party, 1);
      knap_route_provide(engine, who_route, &(knap_provision_t){.party = next->party, .method = &generational, .instance = next});
      if (!i) for (int t = 0; t < 4; t++) pthread_create(&threads[t], NULL, ask, (void *)(uintptr_t)binding);
      if (serving) {
         while (in_flight_of(serving->party));
         serving->retired = 1;
      }
      serving = next;
   }
   end_asking(threads);
   EQUAL(called_retired, 0);
   knap_engine_destroy(engine);
}

static void the_calls_of_a_party_are_ended_and_those_at_its_gate_are_left(void) {
   uint64_t binding = setup_who();
   uint64_t hold_binding = provide("hold", hold, NULL, 0, 0);
   seen_t held_seen, waiting;
   seen_init(&held_seen), seen_init(&waiting);
   knap_outgoing_t outgoing = to(&held_seen);
   knap_engine_call(A, hold_binding, &outgoing, NULL);
   knap_gate_t *gate = knap_gate_close(engine, &bob, 1);
   outgoing = to(&waiting);
   knap_engine_call(A, binding, &outgoing, NULL);
   knap_result_t moved = {.size = sizeof moved, .status = KNAP_UNAVAILABLE, .body = {(const uint8_t *)"{}", 2},
                          .message = {"moved", 5}};
   EQUAL(knap_party_end_calls(bob, &moved), 1);
   EQUAL(held_seen.status, KNAP_UNAVAILABLE);
   CHECK(!strcmp(held_seen.body, "{}"));
   EQUAL(waiting.completions, 0);
   EQUAL(in_flight(), 1); // the callee owes its completion
   EQUAL(B->calls->complete(B, held, NULL), KNAP_CANCELLED);
   EQUAL(in_flight(), 0);
   EQUAL(knap_party_end_calls(bob, &moved), 0);
   knap_party_open(bob, 1);
   knap_gate_open(gate);
   EQUAL(waiting.status, KNAP_OK);
   knap_engine_destroy(engine);
}

static void a_party_that_is_opened_anew_has_a_closed_breaker(void) {
   setup();
   knap_status_t status = KNAP_INTERNAL;
   uint64_t binding = provide("b.fail", fail, &status, 0, 0);
   knap_party_counts_t counts;
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   for (int i = 0; i < 5; i++) knap_engine_call(A, binding, &outgoing, NULL);
   knap_party_count(bob, &counts);
   EQUAL(counts.breaker_open, 1);
   knap_party_open(bob, 1);
   knap_party_count(bob, &counts);
   EQUAL(counts.breaker_open, 0);
   knap_engine_destroy(engine);
}

static void *leave_later(void *context) {
   atomic_int *stay = context;
   while (*stay == 1) usleep(100);
   return NULL;
}

static atomic_int inside;
static void linger(void *context, const knap_request_t *request) { // answers, and is in its function for longer
   (void)context;
   B->calls->complete(B, request->call, NULL);
   inside = 1;
   leave_later(&inside);
}
static void *call_linger(void *binding) {
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, (uint64_t)(uintptr_t)binding, &outgoing, NULL);
   return NULL;
}

static void a_party_is_idle_and_left_only_when_no_thread_is_in_its_code(void) {
   setup();
   uint64_t binding = provide("b.linger", linger, NULL, 0, 0), hold_binding = provide("b.hold", hold_listening, NULL, 0, 0);
   CHECK(knap_party_idle(bob));
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = to(&seen);
   knap_engine_call(A, hold_binding, &outgoing, NULL);
   CHECK(!knap_party_idle(bob));
   CHECK(!knap_party_idle(alice)); // it waits for an answer
   B->calls->complete(B, held, NULL);
   CHECK(knap_party_idle(bob));
   CHECK(knap_party_idle(alice));
   CHECK(knap_engine_left(engine, 1000000000));
   inside = 0;
   pthread_t thread;
   pthread_create(&thread, NULL, call_linger, (void *)(uintptr_t)binding);
   while (!inside) usleep(100);
   EQUAL(in_flight(), 0);
   CHECK(knap_party_idle(bob));
   CHECK(!knap_engine_left(engine, 20000000));
   inside = 2;
   CHECK(knap_engine_left(engine, 5000000000));
   pthread_join(thread, NULL);
   knap_engine_destroy(engine);
}

// As many generations as there are, each with a party of its own, need no more memory than two: one serves, one goes.
static void parties_of_generations_that_left_are_used_again(void) {
   enum { GENERATIONS = 400 };
   uint64_t binding = setup_who();
   knap_party_config_t config = {.name = "dora", .in_flight = 64};
   knap_party_t *seen[GENERATIONS], *before = NULL;
   generation_t generations[GENERATIONS] = {0};
   uint32_t different = 0;
   called_retired = answers = wrong = 0;
   asking = 1;
   pthread_t threads[4];
   for (int i = 0; i < GENERATIONS; i++) {
      generation_t *next = &generations[i];
      config.context = next;
      config.generation = (uint32_t)i + 1;
      next->party = knap_party_create(engine, &config);
      EQUAL(knap_party_context(knap_party_host(next->party)) == next, 1);
      knap_party_counts_t counts;
      knap_party_count(next->party, &counts);
      CHECK((uint32_t)counts.entered <= 4); // the callers may be about to see that it is closed
      EQUAL(counts.misused, 0);
      EQUAL(knap_party_bind(next->party, who_route), 1);
      bool is_new = true;
      for (uint32_t j = 0; j < different; j++) is_new &= seen[j] != next->party;
      if (is_new) seen[different++] = next->party;
      knap_gate_t *gate = before ? knap_gate_close(engine, &before, 1) : NULL;
      while (before && in_flight_of(before));
      if (i) generations[i - 1].retired = 1;
      knap_party_open(next->party, 1);
      knap_route_provide(engine, who_route, &(knap_provision_t){.party = next->party, .method = &generational, .instance = next});
      if (gate) knap_gate_open(gate);
      CHECK(knap_party_retire(next->party) == NULL); // a route leads to it
      if (!i) for (int t = 0; t < 4; t++) pthread_create(&threads[t], NULL, ask, (void *)(uintptr_t)binding);
      if (before) {
         knap_party_host(before)->calls->complete(knap_party_host(before), 12345, NULL); // a mistake, which the next one of the name has not made
         while (!knap_party_idle(before)) usleep(10);
         CHECK(knap_engine_left(engine, 10000000000));
         CHECK(knap_party_retire(before) == &generations[i - 1]);
      }
      before = next->party;
   }
   end_asking(threads);
   EQUAL(called_retired, 0);
   EQUAL(different, 2);
   knap_engine_destroy(engine);
}

static void a_timer_of_a_generation_that_left_does_not_fire_for_the_next(void) {
   setup();
   atomic_int old = 0, next = 0;
   knap_party_t *party = knap_party_create(engine, &(knap_party_config_t){.name = "eve"});
   knap_party_open(party, 1);
   uint64_t soon = knap_now_ns() + 20000000;
   EQUAL(knap_engine_timer(knap_party_host(party), soon, count_fire, &old, NULL), KNAP_OK);
   knap_party_retire(party);
   CHECK(knap_party_create(engine, &(knap_party_config_t){.name = "eve"}) == party);
   knap_party_open(party, 1);
   EQUAL(knap_engine_timer(knap_party_host(party), soon + 1, count_fire, &next, NULL), KNAP_OK);
   while (!next) usleep(1000);
   EQUAL(old, 0);
   knap_engine_destroy(engine);
}

// ## Who runs

static char noted[8][64];
static int note_count;
static void note(void) {
   knap_running_t running;
   bool any = knap_engine_running(&running);
   if (any) snprintf(noted[note_count++ % 8], 64, "%s %s %u", running.plugin, running.what, running.generation);
   else snprintf(noted[note_count++ % 8], 64, "nobody");
}
static void noting_complete(void *context, knap_call_t call, const knap_result_t *result) {
   (void)context; (void)call; (void)result;
   note();
}
static const knap_caller_t noting = {sizeof noting, 0, noting_complete, race_item, race_credit};
static void noted_method(void *instance, const knap_request_t *request) {
   (void)instance;
   note();
   B->calls->complete(B, request->call, NULL);
   note();
}
static void noted_work(void *context) { (void)context; note(); }

static void setup_plugins(void) {
   engine = knap_engine_create(NULL);
   alice = knap_party_create(engine, &(knap_party_config_t){.name = "alice"});
   bob = knap_party_create(engine, &(knap_party_config_t){.name = "bob", .generation = 3});
   A = knap_party_host(alice);
   B = knap_party_host(bob);
   knap_party_open(alice, 1);
   knap_party_open(bob, 1);
}

static void a_thread_notes_whose_code_it_runs(void) {
   setup_plugins();
   uint64_t binding = provide("bob.noted", noted_method, NULL, 0, 0);
   note_count = 0;
   note();
   knap_engine_call(A, binding, &(knap_outgoing_t){.size = sizeof(knap_outgoing_t), .caller = &noting}, NULL);
   knap_engine_within(bob, "create", noted_work, NULL);
   note();
   // Alice has no code in this process, so her callback is nobody's.
   static const char *const expected[] = {"nobody", "bob bob.noted 3", "nobody", "bob bob.noted 3", "bob create 3", "nobody"};
   EQUAL(note_count, 6);
   for (int i = 0; i < 6; i++) {
      CHECK(!strcmp(noted[i], expected[i]));
      if (strcmp(noted[i], expected[i])) printf("   %s, expected %s\n", noted[i], expected[i]);
   }
   knap_engine_destroy(engine);
}

static knap_call_t kept_call;
static void keep_call(void *instance, const knap_request_t *request) { (void)instance; kept_call = request->call; }

static void what_a_plugin_serves_can_be_asked(void) {
   setup_plugins();
   uint64_t binding = provide("bob.kept", keep_call, NULL, 0, 0);
   knap_running_t serving[4];
   EQUAL(knap_engine_serving(engine, "bob", serving, 4), 0);
   seen_t seen;
   seen_init(&seen);
   knap_engine_call(A, binding, &(knap_outgoing_t){.size = sizeof(knap_outgoing_t), .caller = &caller, .context = &seen}, NULL);
   EQUAL(knap_engine_serving(engine, "bob", serving, 4), 1);
   CHECK(!strcmp(serving[0].what, "bob.kept") && serving[0].generation == 3);
   EQUAL(knap_engine_serving(engine, "alice", serving, 4), 0);
   B->calls->complete(B, kept_call, NULL);
   EQUAL(knap_engine_serving(engine, "bob", serving, 4), 0);
   knap_engine_destroy(engine);
}

static atomic_int held_method, held_other, hangs, returns, hanging_blocked;
static void on_held(void *context, const knap_held_t *held) {
   (void)context;
   bool is_method = !strcmp(held->running.what, "bob.holds");
   if (held->stage == KNAP_HELD_LONG && is_method && held->lasted_ns >= 1000000) held_method++;
   else if (held->stage == KNAP_HELD_HANGS && is_method) hangs++;
   else if (held->stage == KNAP_HELD_HANGS && !strcmp(held->running.what, "bob.stays")) hanging_blocked++;
   else if (held->stage == KNAP_HELD_RETURNED) returns++;
   else held_other++;
}
static void holds(void *instance, const knap_request_t *request) {
   (void)instance;
   int before = held_method;
   while (held_method == before) usleep(1000); // as long as it takes to be found
   B->calls->complete(B, request->call, NULL);
}
static void blocks(void *instance, const knap_request_t *request) {
   (void)instance;
   usleep(100000);
   B->calls->complete(B, request->call, NULL);
}

static void a_method_that_does_not_return_is_found_and_one_that_may_block_is_not(void) {
   setup_plugins();
   CHECK(knap_engine_watch(engine, on_held, NULL));
   uint64_t holding = provide("bob.holds", holds, NULL, 0, 0);
   uint64_t blocking = provide("bob.blocks", blocks, NULL, KNAP_ROUTE_BLOCKING, 0);
   held_method = held_other = 0;
   for (int i = 0; i < 3; i++) {
      seen_t seen;
      seen_init(&seen);
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &caller, .context = &seen};
      knap_engine_call(A, blocking, &outgoing, NULL);
      seen_wait(&seen);
      knap_engine_call(A, holding, &outgoing, NULL);
      EQUAL(held_method >= i + 1, 1);
      if (i == 1) usleep(1300000); // long enough for the watch to sleep: the next call must wake it
   }
   EQUAL(held_other, 0);
   knap_engine_destroy(engine);
}

static atomic_bool let_go;
static void until_let_go(void *instance, const knap_request_t *request) {
   (void)instance;
   while (!let_go) usleep(1000);
   B->calls->complete(B, request->call, NULL);
}
static void *call_it(void *binding) {
   seen_t seen;
   seen_init(&seen);
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &caller, .context = &seen};
   knap_engine_call(A, *(uint64_t *)binding, &outgoing, NULL);
   seen_wait(&seen);
   return NULL;
}

static void a_method_that_hangs_is_told_of_once_and_so_is_its_return(void) {
   setup_plugins();
   CHECK(knap_engine_watch(engine, on_held, NULL));
   knap_engine_watchdog(engine, 200000000);
   held_method = held_other = hangs = returns = hanging_blocked = 0;
   let_go = false;
   uint64_t holding = provide("bob.holds", until_let_go, NULL, 0, 0);
   // One that may block hangs only some time after its deadline; it does not keep the watch awake meanwhile.
   uint64_t staying = provide("bob.stays", until_let_go, NULL, KNAP_ROUTE_BLOCKING, 2000000000);
   uint64_t blocking = provide("bob.blocks", until_let_go, NULL, KNAP_ROUTE_BLOCKING, 0);
   pthread_t threads[3];
   pthread_create(&threads[0], NULL, call_it, &staying);
   pthread_create(&threads[1], NULL, call_it, &blocking);
   uint64_t began = knap_now_ns();
   while (!hanging_blocked) usleep(1000);
   CHECK(knap_now_ns() - began >= 2200000000);
   EQUAL(hangs + held_method, 0);
   pthread_create(&threads[2], NULL, call_it, &holding);
   while (!hangs) usleep(1000);
   EQUAL(held_method, 1);
   EQUAL(returns, 0);
   let_go = true;
   for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
   // The watch may sleep by now: the next call wakes it, and it sees that they have returned.
   call_it(&holding);
   while (returns < 2) usleep(1000);
   EQUAL(hangs, 1);
   EQUAL(hanging_blocked, 1);
   EQUAL(held_other, 0);
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
   calls_wait_at_a_closed_gate_and_go_to_the_new_provider();
   a_gate_that_is_given_up_leaves_the_old_provider();
   what_descends_from_a_call_behind_the_gate_passes_it();
   a_call_is_taken_back_from_a_dead_party();
   no_call_is_lost_while_providers_take_turns();
   no_call_reaches_a_provider_that_was_replaced_without_a_gate_and_drained();
   the_calls_of_a_party_are_ended_and_those_at_its_gate_are_left();
   a_party_that_is_opened_anew_has_a_closed_breaker();
   a_party_is_idle_and_left_only_when_no_thread_is_in_its_code();
   parties_of_generations_that_left_are_used_again();
   a_timer_of_a_generation_that_left_does_not_fire_for_the_next();
   a_thread_notes_whose_code_it_runs();
   what_a_plugin_serves_can_be_asked();
   a_method_that_does_not_return_is_found_and_one_that_may_block_is_not();
   a_method_that_hangs_is_told_of_once_and_so_is_its_return();
   a_body_that_is_too_large_is_refused_wherever_it_goes();
   printf("%d passed, %d failed\n", checks - failures, failures);
   return failures != 0;
}
