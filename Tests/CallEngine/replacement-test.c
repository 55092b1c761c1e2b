// What the engine does while one generation takes over from another: gates, parties that leave and are used again. Built plain,
// with AddressSanitizer and with ThreadSanitizer by Tests/CallEngine/run.
#include "harness.h"
#include <sched.h>

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
static const knap_caller_t counting = {sizeof counting, 0, counted, ignore_item, on_credit};
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
   AWAIT(*stay != 1);
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
   AWAIT(inside);
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
         AWAIT(knap_party_idle(before));
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
   AWAIT(next);
   EQUAL(old, 0);
   knap_engine_destroy(engine);
}

int main(void) {
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
   return outcome();
}
