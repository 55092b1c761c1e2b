// What the engine does at the boundary of calls that go wrong or are too many: bulkheads with lines, retries with a budget,
// circuit breakers, stand-ins. Built plain, with AddressSanitizer and with ThreadSanitizer by Tests/CallEngine/run.
#include "harness.h"
#include <sched.h>

enum { MS = 1000000 };

// ## Parties that hold calls until they are told

typedef struct {
   knap_party_t *party;
   const knap_host_t *host;
   knap_call_t calls[1024];
   char order[1024]; // first byte of each call's body
   atomic_int arrived, begun;
   atomic_int status; // KNAP_OK: held; else: completed at once with it
   int ok_after;      // so many have failed
} place_t;

static void serve(void *instance, const knap_request_t *request) {
   place_t *place = instance;
   int at = place->arrived++;
   place->calls[at % 1024] = request->call;
   place->order[at % 1024] = request->body.size ? (char)request->body.data[0] : '-';
   place->begun++;
   if (place->status == KNAP_OK) return;
   bool fails = !place->ok_after || at < place->ok_after;
   knap_result_t result = {.size = sizeof result, .status = fails ? place->status : KNAP_OK, .body = request->body};
   place->host->calls->complete(place->host, request->call, &result);
}
static const knap_method_t serving = {.size = sizeof serving, .name = "serve", .call = serve};

static void place_make(place_t *place, const knap_party_config_t *config) {
   memset(place, 0, sizeof *place);
   place->party = knap_party_create(engine, config);
   place->host = knap_party_host(place->party);
   knap_party_open(place->party, 1);
}
static knap_provision_t provision_of(place_t *place, knap_provision_t with) {
   with.party = place->party;
   with.method = &serving;
   with.instance = place;
   return with;
}
static knap_route_t *route_to(const char *name, place_t *place, knap_provision_t with) {
   knap_route_t *route = knap_route_named(engine, name);
   with = provision_of(place, with);
   knap_route_provide(engine, route, &with);
   return route;
}
static knap_party_counts_t counts_of(const place_t *place) {
   knap_party_counts_t counts;
   knap_party_count(place->party, &counts);
   return counts;
}
static void end(place_t *place, int at) { EQUAL(place->host->calls->complete(place->host, place->calls[at], NULL), KNAP_OK); }

static knap_call_t call_with(const knap_host_t *host, uint64_t binding, seen_t *seen, const char *body, knap_outgoing_t with) {
   seen_init(seen);
   with.size = sizeof with;
   with.caller = &caller;
   with.context = seen;
   with.body = (knap_bytes_t){(const uint8_t *)body, strlen(body)};
   knap_call_t call = 0;
   EQUAL(knap_engine_call(host, binding, &with, &call), KNAP_OK);
   return call;
}
static knap_call_t call_it(uint64_t binding, seen_t *seen, const char *body) {
   return call_with(A, binding, seen, body, (knap_outgoing_t){0});
}
#define UNTIL(condition) \
   for (uint64_t limit = knap_now_ns() + 10000000000ull; !(condition) && knap_now_ns() < limit;) sched_yield(); \
   CHECK(condition)
static void pass_ms(uint64_t ms) { for (uint64_t end = knap_now_ns() + ms * MS; knap_now_ns() < end;) sched_yield(); }

// ## Bulkheads

static void calls_beyond_the_limit_wait_in_order_and_the_line_is_bounded(void) {
   setup();
   static place_t place;
   static seen_t seen[7];
   place_make(&place, &(knap_party_config_t){.name = "carol", .in_flight = 2, .queue = 3});
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){0}));
   for (int i = 0; i < 6; i++) call_it(binding, &seen[i], (char[]){(char)('a' + i), 0});
   EQUAL(place.begun, 2);
   EQUAL(counts_of(&place).queued, 3);
   EQUAL(seen[5].status, KNAP_RESOURCE_EXHAUSTED);
   CHECK(strstr(seen[5].message, "carol already serves 2 calls at once (limits.in_flight) and 3 more wait (limits.queue)"));
   CHECK(strstr(seen[5].message, "raise these limits"));
   CHECK(!strcmp(seen[5].body, "{\"class\":\"overload\",\"retry\":true,\"may_have_run\":false}"));
   for (int i = 0; i < 5; i++) {
      end(&place, i);
      EQUAL(place.begun, i < 3 ? i + 3 : 5);
      EQUAL(seen[i].completions, 1);
      EQUAL(seen[i].status, KNAP_OK);
   }
   CHECK(!memcmp(place.order, "abcde", 5));
   EQUAL(counts_of(&place).queued, 0);
   EQUAL(counts_of(&place).waited, 3);
   EQUAL(counts_of(&place).entered, 5);
   EQUAL(counts_of(&place).in_flight, 0);
   EQUAL(counts_of(&place).failed_overload, 1);
   call_it(binding, &seen[6], "g");
   EQUAL(place.begun, 6);
   end(&place, 5);
   knap_engine_destroy(engine);
}

static void a_waiting_call_is_given_up_and_leaves_the_line(void) {
   setup();
   static place_t place;
   static seen_t seen[5];
   place_make(&place, &(knap_party_config_t){.name = "carol", .in_flight = 1, .queue = 2});
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){0}));
   call_it(binding, &seen[0], "a");
   knap_call_t second = call_it(binding, &seen[1], "b");
   call_with(A, binding, &seen[2], "c", (knap_outgoing_t){.deadline_ns = knap_now_ns() + 5 * MS});
   EQUAL(A->calls->cancel(A, second), KNAP_OK);
   EQUAL(seen[1].status, KNAP_CANCELLED);
   seen_wait(&seen[2]);
   EQUAL(seen[2].status, KNAP_DEADLINE_EXCEEDED);
   CHECK(strstr(seen[2].message, "waited for a place"));
   UNTIL(counts_of(&place).queued == 0);
   call_it(binding, &seen[3], "d");
   call_it(binding, &seen[4], "e");
   EQUAL(counts_of(&place).queued, 2);
   for (int i = 0; i < 3; i++) end(&place, i);
   CHECK(!memcmp(place.order, "ade", 3));
   EQUAL(counts_of(&place).in_flight, 0);
   EQUAL(counts_of(&place).failed_overload, 1);
   knap_engine_destroy(engine);
}

static void what_descends_from_a_call_in_flight_never_waits_for_it(void) {
   setup();
   static place_t one, two;
   static seen_t outer, middle, inner;
   place_make(&one, &(knap_party_config_t){.name = "one", .in_flight = 1, .queue = 9});
   place_make(&two, &(knap_party_config_t){.name = "two", .in_flight = 1, .queue = 9});
   knap_route_t *first = route_to("one.m", &one, (knap_provision_t){.concurrency = 1}), *second = route_to("two.m", &two, (knap_provision_t){0});
   call_it(knap_party_bind(alice, first), &outer, "a");
   call_with(one.host, knap_party_bind(one.party, second), &middle, "b", (knap_outgoing_t){.parent = one.calls[0]});
   call_with(two.host, knap_party_bind(two.party, first), &inner, "c", (knap_outgoing_t){.parent = two.calls[0]});
   EQUAL(one.begun, 2);
   EQUAL(counts_of(&one).in_flight, 2);
   end(&one, 1);
   end(&two, 0);
   end(&one, 0);
   EQUAL(counts_of(&one).in_flight, 0);
   // Both limits hold again.
   call_it(knap_party_bind(alice, first), &outer, "d");
   call_it(knap_party_bind(alice, first), &inner, "e");
   EQUAL(one.begun, 3);
   end(&one, 2);
   end(&one, 3);
   knap_engine_destroy(engine);
}

static void no_circle_of_parties_waits_for_itself(void) {
   setup();
   static place_t places[3];
   static seen_t roots[3], nested[3];
   knap_route_t *routes[3];
   for (int i = 0; i < 3; i++) {
      place_make(&places[i], &(knap_party_config_t){.name = (char[]){(char)('p' + i), 0}, .in_flight = 1, .queue = 9});
      routes[i] = route_to((char[]){(char)('p' + i), '.', 'm', 0}, &places[i], (knap_provision_t){0});
      call_it(knap_party_bind(alice, routes[i]), &roots[i], "root");
   }
   // Each in turn calls the next, all of which are full: the last one would close the circle.
   for (int i = 0; i < 3; i++)
      call_with(places[i].host, knap_party_bind(places[i].party, routes[(i + 1) % 3]), &nested[i], "nested",
                (knap_outgoing_t){.parent = places[i].calls[0]});
   EQUAL(counts_of(&places[1]).queued, 1);
   EQUAL(counts_of(&places[2]).queued, 1);
   EQUAL(counts_of(&places[0]).queued, 0);
   EQUAL(places[0].begun, 2);
   end(&places[0], 1); // the nested call of the third, so that the third can end, and so on round
   for (int i = 2; i >= 0; i--) {
      EQUAL(nested[i].completions, 1);
      end(&places[i], 0);
      if (i > 0) end(&places[i], 1);
   }
   for (int i = 0; i < 3; i++) {
      EQUAL(counts_of(&places[i]).in_flight, 0);
      EQUAL(roots[i].completions, 1);
   }
   knap_engine_destroy(engine);
}

static void a_method_has_a_limit_of_its_own(void) {
   setup();
   static place_t place;
   static seen_t seen[4];
   place_make(&place, &(knap_party_config_t){.name = "carol", .in_flight = 2, .queue = 1});
   uint64_t narrow = knap_party_bind(alice, route_to("c.narrow", &place, (knap_provision_t){.concurrency = 1}));
   uint64_t wide = knap_party_bind(alice, route_to("c.wide", &place, (knap_provision_t){0}));
   call_it(narrow, &seen[0], "a");
   call_it(narrow, &seen[1], "b");
   call_it(wide, &seen[2], "c");
   call_it(narrow, &seen[3], "d");
   CHECK(!memcmp(place.order, "ac", 2));
   EQUAL(seen[3].status, KNAP_RESOURCE_EXHAUSTED);
   CHECK(strstr(seen[3].message, "c.narrow already serves 1 calls at once (the method's concurrency)"));
   end(&place, 0);
   EQUAL(place.order[2], 'b');
   end(&place, 1);
   end(&place, 2);
   EQUAL(counts_of(&place).in_flight, 0);
   knap_engine_destroy(engine);
}

static void a_reload_keeps_what_waits_and_a_stop_answers_it(void) {
   setup();
   static place_t old, new;
   static seen_t seen[8];
   place_make(&old, &(knap_party_config_t){.name = "carol", .in_flight = 1, .queue = 8});
   place_make(&new, &(knap_party_config_t){.name = "carol", .in_flight = 1, .queue = 2});
   knap_route_t *route = route_to("c.m", &old, (knap_provision_t){.concurrency = 1});
   uint64_t binding = knap_party_bind(alice, route);
   for (int i = 0; i < 3; i++) call_it(binding, &seen[i], (char[]){(char)('a' + i), 0});
   knap_gate_t *gate = knap_gate_close(engine, &old.party, 1);
   EQUAL(knap_gate_waiting(gate), 2);
   EQUAL(counts_of(&old).queued, 0);
   call_it(binding, &seen[3], "d");
   call_it(binding, &seen[4], "e");
   end(&old, 0);
   EQUAL(old.begun, 1);
   EQUAL(counts_of(&old).in_flight, 0);
   route_to("c.m", &new, (knap_provision_t){.concurrency = 1});
   knap_gate_open(gate);
   EQUAL(new.begun, 1);
   EQUAL(counts_of(&new).queued, 3); // more than a newcomer would be let into
   call_it(binding, &seen[5], "f");
   EQUAL(seen[5].status, KNAP_RESOURCE_EXHAUSTED);
   end(&new, 0);
   end(&new, 1);
   CHECK(!memcmp(new.order, "bcd", 3));
   knap_party_open(new.party, 0);
   EQUAL(seen[4].status, KNAP_UNAVAILABLE);
   CHECK(strstr(seen[4].message, "carol is not active"));
   end(&new, 2);
   EQUAL(counts_of(&new).in_flight, 0);
   knap_engine_destroy(engine);
}

// Threads call, cancel and let deadlines pass; others complete. The party never runs more than its limit, and every call
// ends exactly once.
enum { LIMIT = 4, CALLERS = 3, FINISHERS = 2, CALLS = 8000 };
static _Atomic knap_call_t boxes[64];
static atomic_int running, most, started, finished, succeeded;
static atomic_bool over;
static knap_party_t *crowded;
static void crowd(void *instance, const knap_request_t *request) {
   (void)instance;
   int now = ++running, seen = most;
   while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now));
   for (;;)
      for (int i = 0; i < 64; i++) {
         knap_call_t none = 0;
         if (atomic_compare_exchange_strong(&boxes[i], &none, request->call)) return;
      }
}
static void *finish_some(void *unused) {
   (void)unused;
   const knap_host_t *host = knap_party_host(crowded);
   while (!over)
      for (int i = 0; i < 64; i++) {
         knap_call_t call = atomic_exchange(&boxes[i], 0);
         if (!call) continue;
         running--;
         host->calls->complete(host, call, NULL);
      }
   return NULL;
}
static void count_end(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   if (atomic_fetch_add((atomic_int *)context, 1) != 0) abort();
   if (result->status == KNAP_OK) succeeded++;
   free(context);
   finished++;
}
static void no_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void no_credit(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_caller_t counter = {sizeof counter, 0, count_end, no_item, no_credit};
static void *call_some(void *binding) {
   unsigned random = (unsigned)(uintptr_t)&binding;
   for (int i = 0; i < CALLS; i++) {
      random = random * 1664525u + 1013904223u;
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &counter, .context = calloc(1, sizeof(atomic_int))};
      if (random >> 29 == 0) outgoing.deadline_ns = knap_now_ns() + (random >> 16 & 1023) * 1000;
      knap_call_t call = 0;
      started++;
      if (knap_engine_call(A, (uint64_t)(uintptr_t)binding, &outgoing, &call) != KNAP_OK) abort();
      if (random >> 28 == 15) A->calls->cancel(A, call);
      while (started - finished > 500) sched_yield();
   }
   return NULL;
}
static void a_crowd_is_served_at_most_so_many_at_once_and_to_the_last(uint32_t concurrency) {
   setup();
   running = most = started = finished = succeeded = 0;
   over = false;
   crowded = knap_party_create(engine, &(knap_party_config_t){.name = "carol", .in_flight = concurrency ? 300 : LIMIT, .queue = 100000});
   knap_party_open(crowded, 1);
   const knap_method_t method = {.size = sizeof method, .name = "crowd", .call = crowd};
   knap_route_t *route = knap_route_named(engine, "c.crowd");
   knap_route_provide(engine, route, &(knap_provision_t){.party = crowded, .method = &method, .concurrency = concurrency});
   uint64_t binding = knap_party_bind(alice, route);
   pthread_t threads[CALLERS + FINISHERS];
   for (int i = 0; i < CALLERS + FINISHERS; i++)
      pthread_create(&threads[i], NULL, i < CALLERS ? call_some : finish_some, (void *)(uintptr_t)binding);
   for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
   UNTIL(finished == started);
   UNTIL(running == 0);
   over = true;
   for (int i = CALLERS; i < CALLERS + FINISHERS; i++) pthread_join(threads[i], NULL);
   EQUAL(finished, CALLERS * CALLS);
   CHECK(succeeded > CALLS);
   CHECK(most <= LIMIT);
   knap_party_counts_t counts;
   knap_party_count(crowded, &counts);
   EQUAL(counts.in_flight, 0);
   EQUAL(counts.queued, 0);
   CHECK(counts.waited > 0);
   knap_engine_destroy(engine);
}

// ## Retries

static void what_fails_for_the_moment_is_tried_again(void) {
   setup();
   static place_t place;
   static seen_t seen;
   place_make(&place, &(knap_party_config_t){.name = "carol"});
   place.status = KNAP_UNAVAILABLE;
   place.ok_after = 2;
   knap_provision_t retrying = {.retries = 3, .flags = KNAP_ROUTE_IDEMPOTENT};
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, retrying));
   char body[] = "same";
   call_it(binding, &seen, body);
   memset(body, 'x', 4);
   seen_wait(&seen);
   EQUAL(seen.status, KNAP_OK);
   CHECK(!strcmp(seen.body, "same"));
   EQUAL(place.begun, 3);
   EQUAL(counts_of(&place).retried, 2);
   EQUAL(counts_of(&place).failed_transient, 2);
   // At most so often, then it has failed.
   place.arrived = place.begun = place.ok_after = 0;
   call_it(binding, &seen, "x");
   seen_wait(&seen);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   EQUAL(place.begun, 4);
   // Nothing else is.
   place.status = KNAP_INTERNAL;
   call_it(binding, &seen, "x");
   EQUAL(seen.status, KNAP_INTERNAL);
   EQUAL(place.begun, 5);
   EQUAL(counts_of(&place).in_flight, 0);
   knap_engine_destroy(engine);
}

static void a_call_is_not_tried_again_once_its_caller_has_part_of_the_answer_or_is_gone(void) {
   setup();
   static place_t place;
   static seen_t seen, parent, child;
   knap_result_t unavailable = {.size = sizeof unavailable, .status = KNAP_UNAVAILABLE};
   place_make(&place, &(knap_party_config_t){.name = "carol"});
   knap_route_t *route = route_to("c.m", &place, (knap_provision_t){.retries = 10, .flags = KNAP_ROUTE_IDEMPOTENT});
   uint64_t binding = knap_party_bind(alice, route);
   call_with(A, binding, &seen, "x", (knap_outgoing_t){.credit = 1});
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA};
   EQUAL(place.host->calls->send(place.host, place.calls[0], &item), KNAP_OK);
   place.host->calls->complete(place.host, place.calls[0], &unavailable);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   // A stream.
   call_with(A, binding, &seen, "x", (knap_outgoing_t){.flags = KNAP_OUTGOING_STREAMS});
   place.host->calls->complete(place.host, place.calls[1], &unavailable);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   // Cancelled while it waits for its next attempt.
   knap_call_t call = call_it(binding, &seen, "x");
   place.host->calls->complete(place.host, place.calls[2], &unavailable);
   EQUAL(seen.completions, 0);
   A->calls->cancel(A, call);
   EQUAL(seen.status, KNAP_CANCELLED);
   // The call that it serves is given up.
   knap_call_t above = call_it(knap_party_bind(alice, route_to("c.above", &place, (knap_provision_t){0})), &parent, "p");
   int at = place.begun;
   call_with(place.host, knap_party_bind(place.party, route), &child, "c", (knap_outgoing_t){.parent = place.calls[at - 1]});
   A->calls->cancel(A, above);
   EQUAL(parent.status, KNAP_CANCELLED);
   place.host->calls->complete(place.host, place.calls[at], &unavailable);
   EQUAL(child.status, KNAP_UNAVAILABLE);
   EQUAL(place.begun, at + 1);
   place.host->calls->complete(place.host, place.calls[at - 1], NULL);
   EQUAL(counts_of(&place).retried, 1);
   EQUAL(counts_of(&place).in_flight, 0);
   knap_engine_destroy(engine);
}

static void no_attempt_is_made_after_the_deadline(void) {
   setup();
   static place_t place;
   static seen_t seen[20];
   place_make(&place, &(knap_party_config_t){.name = "carol"});
   place.status = KNAP_UNAVAILABLE;
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){.retries = 10, .flags = KNAP_ROUTE_IDEMPOTENT}));
   for (int i = 0; i < 20; i++) {
      call_with(A, binding, &seen[i], "x", (knap_outgoing_t){.deadline_ns = knap_now_ns() + 30 * MS});
      seen_wait(&seen[i]);
      CHECK(seen[i].status == KNAP_UNAVAILABLE || seen[i].status == KNAP_DEADLINE_EXCEEDED);
   }
   int begun = place.begun;
   CHECK(begun < 20 * 11);
   pass_ms(60);
   EQUAL(place.begun, begun);
   EQUAL(counts_of(&place).in_flight, 0);
   knap_engine_destroy(engine);
}

static void the_handle_of_an_earlier_attempt_is_stale(void) {
   setup();
   static place_t place;
   static seen_t seen;
   place_make(&place, &(knap_party_config_t){.name = "carol"});
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){.retries = 3, .flags = KNAP_ROUTE_IDEMPOTENT}));
   call_it(binding, &seen, "x");
   knap_result_t unavailable = {.size = sizeof unavailable, .status = KNAP_UNAVAILABLE};
   EQUAL(place.host->calls->complete(place.host, place.calls[0], &unavailable), KNAP_OK);
   EQUAL(place.host->calls->complete(place.host, place.calls[0], NULL), KNAP_FAILED_PRECONDITION);
   UNTIL(place.begun == 2);
   EQUAL(place.host->calls->complete(place.host, place.calls[0], NULL), KNAP_FAILED_PRECONDITION);
   EQUAL(place.host->calls->listen(place.host, place.calls[0], &callee, NULL), KNAP_FAILED_PRECONDITION);
   EQUAL(seen.completions, 0);
   knap_call_info_t info = {.size = sizeof info};
   EQUAL(place.host->calls->info(place.host, place.calls[0], &info), KNAP_FAILED_PRECONDITION);
   EQUAL(place.host->calls->info(place.host, place.calls[1], &info), KNAP_OK);
   end(&place, 1);
   EQUAL(seen.completions, 1);
   EQUAL(counts_of(&place).misused, 2);
   knap_engine_destroy(engine);
}

static void retries_add_a_fifth_to_the_load_at_most(void) {
   setup();
   static place_t place;
   static seen_t seen[1000];
   place_make(&place, &(knap_party_config_t){.name = "carol"});
   place.status = KNAP_UNAVAILABLE;
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){.retries = 3, .flags = KNAP_ROUTE_IDEMPOTENT}));
   for (int i = 0; i < 1000; i++) call_it(binding, &seen[i], "x");
   for (int i = 0; i < 1000; i++) seen_wait(&seen[i]);
   UNTIL(counts_of(&place).in_flight == 0);
   knap_party_counts_t counts = counts_of(&place);
   CHECK(counts.retried >= 200 && counts.retried <= 200 + 10);
   CHECK(counts.retries_denied > 0);
   EQUAL(place.begun, 1000 + (int)counts.retried);
   knap_engine_destroy(engine);
}

static void the_waits_between_retries_are_drawn_from_a_doubling_range(void) {
   uint64_t random = 42, most[8] = {25, 50, 100, 200, 400, 800, 1600, 2000};
   for (uint32_t retry = 0; retry < 70; retry++) {
      uint64_t limit = most[retry < 7 ? retry : 7] * MS, sum = 0, longest = 0;
      for (int i = 0; i < 1000; i++) {
         random = random * 6364136223846793005ull + 1442695040888963407ull;
         uint64_t wait = knap_backoff_ns(retry, random >> 8);
         sum += wait;
         if (wait > longest) longest = wait;
      }
      CHECK(longest <= limit && longest > limit / 10 * 9);
      CHECK(sum / 1000 > limit / 5 * 2 && sum / 1000 < limit / 5 * 3);
   }
}

// ## Breakers

static atomic_int opened, closed;
static void breaker_changed(const knap_host_t *host, knap_breaker_state_t state) {
   (void)host;
   if (state == KNAP_BREAKER_OPEN) opened++;
   else closed++;
}
static void a_breaker_opens_after_so_many_failures_within_its_period(void) {
   setup();
   static place_t place;
   static seen_t seen, trial;
   opened = closed = 0;
   place_make(&place, &(knap_party_config_t){.name = "carol", .breaker_failures = 4, .breaker_period_ns = 10000ull * MS,
                                             .breaker_open_ns = 30 * MS, .breaker_changed = breaker_changed});
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){0}));
   place.status = KNAP_NOT_FOUND; // the caller's business, however often
   for (int i = 0; i < 9; i++) call_it(binding, &seen, "x");
   place.status = KNAP_INTERNAL;
   for (int i = 0; i < 3; i++) call_it(binding, &seen, "x");
   place.ok_after = 1; // a success in between does not make the others undone
   call_it(binding, &seen, "x");
   EQUAL(seen.status, KNAP_OK);
   place.ok_after = 0;
   EQUAL(counts_of(&place).breaker, KNAP_BREAKER_CLOSED);
   place.status = KNAP_UNAVAILABLE;
   call_it(binding, &seen, "x");
   EQUAL(counts_of(&place).breaker, KNAP_BREAKER_OPEN);
   EQUAL(opened, 1);
   int begun = place.begun;
   call_it(binding, &seen, "x");
   EQUAL(place.begun, begun);
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   CHECK(strstr(seen.message, "carol failed 4 times within 10000 ms"));
   CHECK(strstr(seen.message, "for another "));
   CHECK(strstr(seen.body, "{\"class\":\"transient\",\"retry\":true,\"may_have_run\":false,\"retry_after_ms\":"));
   // Half-open: one call tries, others do not.
   UNTIL(counts_of(&place).breaker == KNAP_BREAKER_HALF_OPEN);
   place.status = KNAP_OK;
   knap_call_t trying = call_it(binding, &trial, "x");
   EQUAL(place.begun, begun + 1);
   call_it(binding, &seen, "x");
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   CHECK(strstr(seen.message, "half-open"));
   // Given up, it says nothing; another one tries.
   A->calls->cancel(A, trying);
   call_it(binding, &trial, "x");
   EQUAL(place.begun, begun + 2);
   knap_result_t internal = {.size = sizeof internal, .status = KNAP_INTERNAL};
   place.host->calls->complete(place.host, place.calls[(begun + 1) % 1024], &internal);
   EQUAL(counts_of(&place).breaker, KNAP_BREAKER_OPEN);
   UNTIL(counts_of(&place).breaker == KNAP_BREAKER_HALF_OPEN);
   call_it(binding, &trial, "x");
   EQUAL(closed, 0);
   place.host->calls->complete(place.host, place.calls[(begun + 2) % 1024], NULL);
   EQUAL(counts_of(&place).breaker, KNAP_BREAKER_CLOSED);
   EQUAL(opened, 1);
   EQUAL(closed, 1);
   EQUAL(counts_of(&place).breaker_opened, 2);
   call_it(binding, &seen, "x");
   EQUAL(place.begun, begun + 4);
   place.host->calls->complete(place.host, place.calls[begun % 1024], NULL);
   place.host->calls->complete(place.host, place.calls[(begun + 3) % 1024], NULL);
   EQUAL(counts_of(&place).in_flight, 0);
   knap_engine_destroy(engine);
}

static void old_failures_do_not_count(void) {
   setup();
   static place_t place;
   static seen_t seen;
   place_make(&place, &(knap_party_config_t){.name = "carol", .breaker_failures = 4, .breaker_period_ns = 40 * MS, .breaker_open_ns = MS});
   uint64_t binding = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){0}));
   place.status = KNAP_INTERNAL;
   for (int round = 0; round < 3; round++) {
      for (int i = 0; i < 3; i++) call_it(binding, &seen, "x");
      EQUAL(counts_of(&place).breaker_opened, 0);
      pass_ms(45);
   }
   knap_engine_destroy(engine);
}

static void calls_that_hang_open_the_breaker_but_impatient_callers_do_not(void) {
   setup();
   static place_t place;
   static seen_t seen;
   place_make(&place, &(knap_party_config_t){.name = "carol", .breaker_failures = 2, .breaker_open_ns = 60000ull * MS});
   uint64_t patient = knap_party_bind(alice, route_to("c.m", &place, (knap_provision_t){.timeout_ns = 60000ull * MS}));
   uint64_t hasty = knap_party_bind(alice, route_to("c.n", &place, (knap_provision_t){.timeout_ns = 5 * MS}));
   for (int i = 0; i < 5; i++) {
      call_with(A, patient, &seen, "x", (knap_outgoing_t){.deadline_ns = knap_now_ns() + 2 * MS});
      seen_wait(&seen);
      EQUAL(seen.status, KNAP_DEADLINE_EXCEEDED);
   }
   UNTIL(counts_of(&place).failed_transient == 5);
   EQUAL(counts_of(&place).breaker, KNAP_BREAKER_CLOSED);
   for (int i = 0; i < 2; i++) {
      call_it(hasty, &seen, "x");
      seen_wait(&seen);
      EQUAL(seen.status, KNAP_DEADLINE_EXCEEDED);
      CHECK(strstr(seen.body, "\"retry\":false,\"may_have_run\":true"));
   }
   UNTIL(counts_of(&place).breaker == KNAP_BREAKER_OPEN);
   for (int i = 0; i < 7; i++) EQUAL(place.host->calls->complete(place.host, place.calls[i], NULL), KNAP_CANCELLED);
   knap_engine_destroy(engine);
}

// ## Stand-ins

static char served_by[16];
static void observe_begin(void *instance, const knap_observation_t *call) { (void)instance; (void)call; }
static void observe_end(void *instance, const knap_observation_t *call) {
   (void)instance;
   snprintf(served_by, sizeof served_by, "%.*s", (int)call->callee.size, call->callee.data);
}
static void a_stand_in_serves_what_the_primary_cannot(void) {
   setup();
   static place_t primary, other;
   static seen_t seen;
   knap_party_t *watcher = knap_party_create(engine, &(knap_party_config_t){.name = "watcher"});
   knap_party_open(watcher, 1);
   knap_plugin_observe_t observe = {sizeof observe, 0, observe_begin, observe_end};
   knap_engine_hooks(engine, &(knap_hooked_t){NULL, &observe, NULL, watcher}, 1, NULL);
   place_make(&primary, &(knap_party_config_t){.name = "primary", .breaker_failures = 3, .breaker_open_ns = 60000ull * MS});
   place_make(&other, &(knap_party_config_t){.name = "other"});
   other.status = KNAP_OUT_OF_RANGE; // says who answered
   knap_route_t *route = knap_route_named(engine, "c.m");
   uint64_t binding = knap_party_bind(alice, route);
   knap_provision_t stands_in = provision_of(&other, (knap_provision_t){.flags = KNAP_ROUTE_IDEMPOTENT});
   knap_route_provide_fallback(engine, route, &stands_in);
   // Nobody serves the route.
   call_it(binding, &seen, "a");
   EQUAL(seen.status, KNAP_OUT_OF_RANGE);
   CHECK(!strcmp(served_by, "other"));
   // The primary does.
   primary.status = KNAP_ALREADY_EXISTS;
   route_to("c.m", &primary, (knap_provision_t){0});
   call_it(binding, &seen, "b");
   EQUAL(seen.status, KNAP_ALREADY_EXISTS);
   CHECK(!strcmp(served_by, "primary"));
   // Its party is closed.
   knap_party_open(primary.party, 0);
   call_it(binding, &seen, "c");
   EQUAL(seen.status, KNAP_OUT_OF_RANGE);
   knap_party_open(primary.party, 1);
   // It fails, and may have run.
   primary.status = KNAP_UNAVAILABLE;
   call_it(binding, &seen, "d");
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   // It did not run.
   primary.status = KNAP_OK;
   call_it(binding, &seen, "e");
   EQUAL(seen.completions, 0);
   knap_call_unserved(primary.host, primary.calls[2], KNAP_UNAVAILABLE, "it ended", (knap_bytes_t){(const uint8_t *)"e", 1}, NULL);
   EQUAL(seen.status, KNAP_OUT_OF_RANGE);
   CHECK(!strcmp(served_by, "other"));
   // It may run twice.
   route_to("c.m", &primary, (knap_provision_t){.flags = KNAP_ROUTE_IDEMPOTENT});
   primary.status = KNAP_UNAVAILABLE;
   call_it(binding, &seen, "f");
   EQUAL(seen.status, KNAP_OUT_OF_RANGE);
   CHECK(!strcmp(seen.body, "f"));
   // That was the third failure: its breaker is open.
   EQUAL(counts_of(&primary).breaker, KNAP_BREAKER_OPEN);
   int begun = primary.begun;
   call_it(binding, &seen, "g");
   EQUAL(seen.status, KNAP_OUT_OF_RANGE);
   EQUAL(primary.begun, begun);
   // What fails there has failed.
   other.status = KNAP_UNAVAILABLE;
   call_it(binding, &seen, "h");
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   EQUAL(seen.completions, 1);
   CHECK(!memcmp(other.order, "acefgh", 6));
   EQUAL(counts_of(&primary).fell_back, 5);
   EQUAL(counts_of(&other).stood_in, 6);
   // Neither is there.
   knap_party_open(other.party, 0);
   call_it(binding, &seen, "i");
   EQUAL(seen.status, KNAP_UNAVAILABLE);
   CHECK(strstr(seen.message, "circuit breaker"));
   EQUAL(counts_of(&primary).in_flight, 0);
   EQUAL(counts_of(&other).in_flight, 0);
   knap_engine_destroy(engine);
}

static void calls_that_waited_for_a_stopped_primary_go_to_the_stand_in(void) {
   setup();
   static place_t primary, other;
   static seen_t seen[3];
   place_make(&primary, &(knap_party_config_t){.name = "primary", .in_flight = 1, .queue = 5});
   place_make(&other, &(knap_party_config_t){.name = "other"});
   other.status = KNAP_OUT_OF_RANGE;
   knap_route_t *route = route_to("c.m", &primary, (knap_provision_t){0});
   knap_provision_t stands_in = provision_of(&other, (knap_provision_t){0});
   knap_route_provide_fallback(engine, route, &stands_in);
   uint64_t binding = knap_party_bind(alice, route);
   call_it(binding, &seen[0], "a");
   call_it(binding, &seen[1], "b");
   knap_gate_t *gate = knap_gate_close(engine, &primary.party, 1);
   call_it(binding, &seen[2], "c");
   end(&primary, 0);
   knap_route_provide(engine, route, NULL);
   knap_party_open(primary.party, 0);
   knap_gate_open(gate);
   EQUAL(seen[0].status, KNAP_OK);
   EQUAL(seen[1].status, KNAP_OUT_OF_RANGE);
   EQUAL(seen[2].status, KNAP_OUT_OF_RANGE);
   CHECK(!memcmp(other.order, "bc", 2));
   knap_engine_destroy(engine);
}

static void a_stand_in_serves_what_an_overloaded_primary_does_not_take(void) {
   setup();
   static place_t primary, other;
   static seen_t seen[5];
   place_make(&primary, &(knap_party_config_t){.name = "primary", .in_flight = 1, .queue = 1});
   place_make(&other, &(knap_party_config_t){.name = "other"});
   other.status = KNAP_OUT_OF_RANGE;
   knap_route_t *route = route_to("c.m", &primary, (knap_provision_t){.retries = 3});
   knap_provision_t stands_in = provision_of(&other, (knap_provision_t){0});
   knap_route_provide_fallback(engine, route, &stands_in);
   uint64_t binding = knap_party_bind(alice, route);
   call_it(binding, &seen[0], "a"); // runs
   call_it(binding, &seen[1], "b"); // waits
   call_it(binding, &seen[2], "c"); // finds the line full
   EQUAL(seen[2].status, KNAP_OUT_OF_RANGE);
   CHECK(!memcmp(other.order, "c", 1));
   EQUAL(counts_of(&primary).fell_back, 1);
   EQUAL(counts_of(&primary).retried, 0);
   end(&primary, 0);
   end(&primary, 1);
   EQUAL(seen[0].status, KNAP_OK);
   EQUAL(seen[1].status, KNAP_OK);
   // It says so itself: it may have run, so only what may run twice goes elsewhere.
   primary.status = KNAP_RESOURCE_EXHAUSTED;
   call_it(binding, &seen[3], "d");
   EQUAL(seen[3].status, KNAP_RESOURCE_EXHAUSTED);
   route_to("c.m", &primary, (knap_provision_t){.flags = KNAP_ROUTE_IDEMPOTENT, .retries = 3});
   call_it(binding, &seen[4], "e");
   EQUAL(seen[4].status, KNAP_OUT_OF_RANGE);
   // Nor is who has too much to do given the same again.
   EQUAL(counts_of(&primary).retried, 0);
   EQUAL(counts_of(&primary).failed_overload, 3);
   EQUAL(counts_of(&primary).in_flight, 0);
   EQUAL(counts_of(&other).in_flight, 0);
   knap_engine_destroy(engine);
}

// ## Classes

static void every_status_has_one_class(void) {
   static const struct { knap_status_t status; const char *plugin, *host; } table[] = {
      {KNAP_OK, "none", "none"}, {KNAP_CANCELLED, "plugin", "caller"}, {KNAP_UNKNOWN, "plugin", "plugin"},
      {KNAP_INVALID_ARGUMENT, "caller", "caller"}, {KNAP_DEADLINE_EXCEEDED, "transient", "transient"},
      {KNAP_NOT_FOUND, "caller", "caller"}, {KNAP_ALREADY_EXISTS, "caller", "caller"},
      {KNAP_PERMISSION_DENIED, "caller", "caller"}, {KNAP_RESOURCE_EXHAUSTED, "overload", "overload"},
      {KNAP_FAILED_PRECONDITION, "caller", "caller"}, {KNAP_ABORTED, "transient", "transient"},
      {KNAP_OUT_OF_RANGE, "caller", "caller"}, {KNAP_UNIMPLEMENTED, "permanent", "permanent"},
      {KNAP_INTERNAL, "plugin", "plugin"}, {KNAP_UNAVAILABLE, "transient", "transient"},
      {KNAP_DATA_LOSS, "permanent", "permanent"}, {KNAP_UNAUTHENTICATED, "caller", "caller"},
      {17, "plugin", "plugin"}, {-1, "plugin", "plugin"},
   };
   for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
      CHECK(!strcmp(knap_failure_name(knap_failure_of(table[i].status, false)), table[i].plugin));
      CHECK(!strcmp(knap_failure_name(knap_failure_of(table[i].status, true)), table[i].host));
   }
}

int main(void) {
   calls_beyond_the_limit_wait_in_order_and_the_line_is_bounded();
   a_waiting_call_is_given_up_and_leaves_the_line();
   what_descends_from_a_call_in_flight_never_waits_for_it();
   no_circle_of_parties_waits_for_itself();
   a_method_has_a_limit_of_its_own();
   a_reload_keeps_what_waits_and_a_stop_answers_it();
   a_crowd_is_served_at_most_so_many_at_once_and_to_the_last(0);
   a_crowd_is_served_at_most_so_many_at_once_and_to_the_last(LIMIT);
   what_fails_for_the_moment_is_tried_again();
   a_call_is_not_tried_again_once_its_caller_has_part_of_the_answer_or_is_gone();
   no_attempt_is_made_after_the_deadline();
   the_handle_of_an_earlier_attempt_is_stale();
   retries_add_a_fifth_to_the_load_at_most();
   the_waits_between_retries_are_drawn_from_a_doubling_range();
   a_breaker_opens_after_so_many_failures_within_its_period();
   old_failures_do_not_count();
   calls_that_hang_open_the_breaker_but_impatient_callers_do_not();
   a_stand_in_serves_what_the_primary_cannot();
   calls_that_waited_for_a_stopped_primary_go_to_the_stand_in();
   a_stand_in_serves_what_an_overloaded_primary_does_not_take();
   every_status_has_one_class();
   return outcome();
}
