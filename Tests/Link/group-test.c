// Several links to one plugin: where calls go, and what becomes of them while members come, leave and die. All "workers"
// are parties of one engine, each behind a link of its own.
#include <knap_link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static int failures, checks;
#define CHECK(condition) \
   do { checks++; if (!(condition)) { failures++; printf("%s:%d: %s\n", __func__, __LINE__, #condition); } } while (0)
#define EQUAL(a, b) \
   do { long long x = (long long)(a), y = (long long)(b); checks++; \
        if (x != y) { failures++; printf("%s:%d: %s is %lld, expected %lld\n", __func__, __LINE__, #a, x, y); } } while (0)
#define WAIT_FOR(condition) \
   do { uint64_t limit = knap_now_ns() + 20000000000; \
        while (!(condition) && knap_now_ns() < limit) usleep(50); \
        CHECK(condition); } while (0)

enum { ECHO, HOLD, METHODS, MOST = 16, MOST_HELD = 256 };

typedef struct {
   knap_party_t *plugin, *host;
   uint64_t into_plugin[METHODS];
   knap_link_t *here, *there;
   void *memory;
   int bells[2];
   bool is_deaf; // its thread does not look at the ring
   atomic_int holds, echoes;
   _Atomic knap_call_t held[MOST_HELD];
} member_t;

static knap_engine_t *engine, *worker_engine;
static knap_party_t *client, *party;
static const knap_host_t *C;
static knap_poller_t *poller, *worker_poller;
static knap_group_t *group;
static member_t members[MOST];
static uint64_t bindings[METHODS];
static atomic_int presses;

// ## The plugin

static void echo(void *instance, const knap_request_t *request) {
   member_t *self = instance;
   self->echoes++;
   knap_result_t result = {.size = sizeof result, .body = request->body};
   knap_party_host(self->plugin)->calls->complete(knap_party_host(self->plugin), request->call, &result);
}
static void item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void nothing(void *context, knap_call_t call) { (void)context; (void)call; }
static void closed(void *context) { (void)context; }
static void cancelled(void *context, knap_call_t call, knap_status_t reason) {
   (void)reason;
   member_t *self = context;
   knap_party_host(self->plugin)->calls->complete(knap_party_host(self->plugin), call, NULL);
}
static const knap_callee_t holding = {sizeof holding, 0, item, nothing, nothing, cancelled, closed};
static void hold(void *instance, const knap_request_t *request) {
   member_t *self = instance;
   knap_party_host(self->plugin)->calls->listen(knap_party_host(self->plugin), request->call, &holding, self);
   self->held[self->holds] = request->call;
   self->holds++;
}
static void (*const methods[METHODS])(void *, const knap_request_t *) = {echo, hold};

static void let_go(member_t *member) {
   for (int i = 0; i < member->holds; i++)
      knap_party_host(member->plugin)->calls->complete(knap_party_host(member->plugin), member->held[i], NULL);
   member->holds = 0;
}

static knap_status_t in_worker(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                               knap_call_t *call) {
   member_t *member = context;
   if (method >= METHODS) return KNAP_UNIMPLEMENTED;
   return knap_engine_call_for(knap_party_host(member->host), member->into_plugin[method], outgoing, origin, call);
}
static knap_status_t in_host(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                             knap_call_t *call) {
   (void)context; (void)method; (void)outgoing; (void)origin; (void)call;
   return KNAP_UNIMPLEMENTED;
}

// ## Members

// Joins a member to the group, and to its plugin unless that is deaf.
static void join(member_t *member, bool is_deaf) {
   int descriptor = knap_link_memory();
   member->memory = mmap(NULL, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
   close(descriptor);
   member->bells[0] = eventfd(0, 0), member->bells[1] = eventfd(0, 0);
   member->is_deaf = is_deaf;
   member->holds = member->echoes = 0;
   member->here = knap_link_create(&(knap_link_config_t){.party = party, .memory = member->memory, .is_host = 1, .group = group,
                                   .doorbell = member->bells[0], .other_doorbell = member->bells[1], .call = in_host});
   member->there = knap_link_create(&(knap_link_config_t){.party = member->host, .memory = member->memory,
                                    .doorbell = member->bells[1], .other_doorbell = member->bells[0], .call = in_worker,
                                    .context = member});
   knap_link_idempotent(member->here, 1 << ECHO);
   knap_poller_add(poller, member->here);
   if (!is_deaf) knap_poller_add(worker_poller, member->there);
   knap_group_admit(member->here, true);
}

static uint32_t in_flight(member_t *member) {
   knap_link_counts_t counts;
   knap_link_count(member->here, &counts);
   return counts.in_flight;
}

// As its process does: nothing is taken or answered any more.
static void die(member_t *member) {
   if (!member->is_deaf) knap_poller_remove(worker_poller, member->there);
   knap_link_break(member->there);
   knap_poller_remove(poller, member->here);
   knap_link_break(member->here);
}

static void bury(member_t *member) {
   WAIT_FOR(in_flight(member) == 0);
   knap_link_destroy(member->here);
   knap_link_counts_t counts;
   do knap_link_count(member->there, &counts); while (counts.in_flight);
   knap_link_destroy(member->there);
   munmap(member->memory, KNAP_LINK_MEMORY);
   close(member->bells[0]), close(member->bells[1]);
   member->here = NULL;
}

static void leave(member_t *member) {
   knap_group_admit(member->here, false);
   WAIT_FOR(in_flight(member) == 0);
   die(member);
   bury(member);
}

static void pressed(void *context) { (void)context; presses++; }

static void provide(knap_engine_t *in, const char *name, knap_party_t *of, void (*call)(void *, const knap_request_t *),
                    void *instance, uint32_t index) {
   knap_method_t method = {.size = sizeof method, .name = name, .call = call};
   knap_route_provide(in, knap_route_named(in, name),
                      &(knap_provision_t){.party = of, .method = &method, .instance = instance, .index = index});
}

static void setup(int count, uint32_t busy) {
   engine = knap_engine_create(NULL), worker_engine = knap_engine_create(NULL);
   client = knap_party_create(engine, &(knap_party_config_t){.name = "client"});
   party = knap_party_create(engine, &(knap_party_config_t){.name = "plugin"});
   knap_party_open(client, 1), knap_party_open(party, 1);
   C = knap_party_host(client);
   poller = knap_poller_create(), worker_poller = knap_poller_create();
   presses = 0;
   group = knap_group_create(&(knap_group_config_t){.party = party, .busy = busy, .pressed = pressed});
   memset(members, 0, sizeof members);
   for (int i = 0; i < MOST; i++) {
      member_t *member = &members[i];
      char name[32];
      snprintf(name, sizeof name, "plugin%d", i);
      member->plugin = knap_party_create(worker_engine, &(knap_party_config_t){.name = name});
      snprintf(name, sizeof name, "host%d", i);
      member->host = knap_party_create(worker_engine, &(knap_party_config_t){.name = name, .assert_principal = 1});
      knap_party_open(member->plugin, 1), knap_party_open(member->host, 1);
      for (uint32_t method = 0; method < METHODS; method++) {
         snprintf(name, sizeof name, "plugin%d.%u", i, method);
         provide(worker_engine, name, member->plugin, methods[method], member, method);
         member->into_plugin[method] = knap_party_bind(member->host, knap_route_named(worker_engine, name));
      }
   }
   for (int i = 0; i < count; i++) join(&members[i], false);
   for (uint32_t method = 0; method < METHODS; method++) {
      char name[32];
      snprintf(name, sizeof name, "plugin.%u", method);
      provide(engine, name, party, knap_group_forward, group, method);
      bindings[method] = knap_party_bind(client, knap_route_named(engine, name));
   }
}

static void teardown(void) {
   for (int i = 0; i < MOST; i++)
      if (members[i].here && i != MOST - 1) leave(&members[i]);
   knap_group_destroy(group); // and its memory with its last link
   if (members[MOST - 1].here) leave(&members[MOST - 1]);
   knap_party_counts_t counts;
   knap_party_count(party, &counts);
   EQUAL(counts.in_flight, 0);
   EQUAL(counts.misused, 0);
   knap_poller_destroy(poller), knap_poller_destroy(worker_poller);
   knap_engine_destroy(engine), knap_engine_destroy(worker_engine);
}

// ## The client

typedef struct {
   atomic_int done, status, sum;
   char body[128];
} seen_t;
static void seen_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   seen_t *seen = context;
   seen->status = result->status;
   for (uint64_t i = 0; i < result->body.size; i++) seen->sum += result->body.data[i];
   snprintf(seen->body, sizeof seen->body, "%.*s", (int)(result->body.size < 127 ? result->body.size : 127),
            result->body.data ? (const char *)result->body.data : "");
   seen->done++;
}
static const knap_caller_t caller = {sizeof caller, 0, seen_done, item, nothing};

static void call(seen_t *seen, int method, const void *body, uint64_t size) {
   memset(seen, 0, sizeof *seen);
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .body = {body, size}, .caller = &caller, .context = seen};
   EQUAL(knap_engine_call(C, bindings[method], &outgoing, NULL), KNAP_OK);
}

static atomic_int asking, answered, wrong;
static void counted(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   if (result->status != KNAP_OK) {
      wrong++;
      printf("a call failed with %d: %.*s\n", result->status, (int)result->message.size, result->message.data);
   }
   answered++;
   atomic_store((atomic_int *)context, 1);
}
static const knap_caller_t counting = {sizeof counting, 0, counted, item, nothing};
static void *ask(void *unused) {
   (void)unused;
   uint8_t body[300] = {0};
   atomic_int done;
   for (uint64_t i = 0; asking; i++) {
      atomic_store(&done, 0);
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &counting, .context = &done, .body = {body, i % sizeof body}};
      knap_engine_call(C, bindings[ECHO], &outgoing, NULL);
      while (!atomic_load(&done)) usleep(1);
   }
   return NULL;
}

enum { ASKERS = 4 };
static pthread_t askers[ASKERS];
static void ask_at_once(void) {
   asking = 1;
   answered = wrong = 0;
   for (int i = 0; i < ASKERS; i++) pthread_create(&askers[i], NULL, ask, NULL);
}
static void stop_asking(void) {
   asking = 0;
   for (int i = 0; i < ASKERS; i++) pthread_join(askers[i], NULL);
   EQUAL(wrong, 0);
   CHECK(answered > 0);
}
static void wait_for_answers(int more) {
   int until = answered + more;
   WAIT_FOR(answered >= until);
}

// ## The cases

static void a_call_goes_to_the_member_with_the_fewest_in_flight(void) {
   setup(4, 0);
   static seen_t seen[MOST_HELD];
   for (int i = 0; i < 40; i++) call(&seen[i], HOLD, "", 0);
   for (int i = 0; i < 4; i++) WAIT_FOR(members[i].holds == 10);
   let_go(&members[2]);
   WAIT_FOR(in_flight(&members[2]) == 0);
   for (int i = 0; i < 10; i++) call(&seen[40 + i], HOLD, "", 0);
   WAIT_FOR(members[2].holds == 10);
   for (int i = 0; i < 4; i++) let_go(&members[i]);
   for (int i = 0; i < 50; i++) WAIT_FOR(seen[i].done);
   // Nothing else being called, one member serves alone.
   for (int i = 0; i < 100; i++) {
      call(&seen[0], ECHO, "x", 1);
      WAIT_FOR(seen[0].done);
      WAIT_FOR(in_flight(&members[0]) == 0);
   }
   EQUAL(members[0].echoes, 100);
   EQUAL(members[1].echoes + members[2].echoes + members[3].echoes, 0);
   teardown();
}

static void many_members_share_evenly(void) {
   setup(MOST, 0);
   static seen_t seen[10 * MOST];
   for (int i = 0; i < 10 * MOST; i++) call(&seen[i], HOLD, "", 0);
   int held = 0, most = 0;
   for (int i = 0; i < MOST; i++) {
      WAIT_FOR(in_flight(&members[i]) == (uint32_t)members[i].holds);
      held += members[i].holds;
      if (members[i].holds > most) most = members[i].holds;
   }
   EQUAL(held, 10 * MOST);
   CHECK(most <= 15);
   for (int i = 0; i < MOST; i++) let_go(&members[i]);
   for (int i = 0; i < 10 * MOST; i++) WAIT_FOR(seen[i].done);
   teardown();
}

static void no_call_fails_while_members_come_and_leave(void) {
   setup(2, 0);
   ask_at_once();
   for (int i = 0; i < 200; i++) {
      member_t *member = &members[2 + i % 4];
      if (member->here) leave(member);
      join(member, false);
      wait_for_answers(5);
   }
   stop_asking();
   teardown();
}

static void no_call_that_may_run_twice_fails_while_members_die(void) {
   setup(3, 0);
   ask_at_once();
   for (int i = 0; i < 200; i++) {
      member_t *member = &members[i % 3];
      die(member);
      wait_for_answers(20);
      bury(member);
      join(member, false);
   }
   stop_asking();
   teardown();
}

static void a_dead_members_calls_go_to_another_or_say_that_they_may_have_run(void) {
   setup(0, 0);
   join(&members[0], true);
   seen_t small, large, taken;
   uint8_t body[5000];
   for (unsigned i = 0; i < sizeof body; i++) body[i] = (uint8_t)(i % 7);
   // Two calls that nobody has taken, one with a body that is kept in a buffer.
   call(&small, ECHO, "small", 5);
   call(&large, ECHO, body, sizeof body);
   join(&members[1], false);
   die(&members[0]);
   WAIT_FOR(small.done && large.done);
   EQUAL(small.status, KNAP_OK);
   CHECK(!strcmp(small.body, "small"));
   EQUAL(large.status, KNAP_OK);
   int sum = 0;
   for (unsigned i = 0; i < sizeof body; i++) sum += body[i];
   EQUAL(large.sum, sum);
   EQUAL(members[1].echoes, 2);
   bury(&members[0]);
   // One that was begun and may not run twice.
   call(&taken, HOLD, "", 0);
   WAIT_FOR(members[1].holds == 1);
   join(&members[0], false);
   die(&members[1]);
   EQUAL(taken.status, KNAP_UNKNOWN);
   CHECK(strstr(taken.body, "\"may_have_run\":true"));
   EQUAL(members[0].holds, 0);
   bury(&members[1]);
   teardown();
}

static void calls_of_the_last_member_wait_at_the_gate(void) {
   setup(1, 0);
   knap_poller_remove(worker_poller, members[0].there);
   members[0].is_deaf = true;
   seen_t before, after;
   call(&before, ECHO, "before", 6);
   knap_gate_t *gate = knap_gate_close(engine, &party, 1);
   die(&members[0]);
   call(&after, ECHO, "after", 5);
   EQUAL(before.done + after.done, 0);
   EQUAL(knap_gate_waiting(gate), 2);
   join(&members[1], false);
   knap_party_open(party, 1);
   knap_gate_open(gate);
   WAIT_FOR(before.done && after.done);
   EQUAL(before.status, KNAP_OK);
   EQUAL(after.status, KNAP_OK);
   EQUAL(members[1].echoes, 2);
   bury(&members[0]);
   // No member and no gate: the call is not lost.
   leave(&members[1]);
   call(&after, ECHO, "", 0);
   EQUAL(after.status, KNAP_UNAVAILABLE);
   teardown();
}

static void pressure_is_told_once_when_all_are_busy(void) {
   setup(2, 2);
   static seen_t seen[10];
   for (int i = 0; i < 4; i++) call(&seen[i], HOLD, "", 0);
   EQUAL(presses, 0);
   for (int i = 4; i < 8; i++) call(&seen[i], HOLD, "", 0);
   EQUAL(presses, 1);
   knap_group_rearm(group);
   call(&seen[8], HOLD, "", 0);
   EQUAL(presses, 2);
   for (int i = 0; i < 2; i++) WAIT_FOR(in_flight(&members[i]) == (uint32_t)members[i].holds);
   let_go(&members[0]), let_go(&members[1]);
   for (int i = 0; i < 9; i++) WAIT_FOR(seen[i].done);
   knap_group_rearm(group);
   call(&seen[9], ECHO, "", 0);
   WAIT_FOR(seen[9].done);
   EQUAL(presses, 2);
   teardown();
}

static void a_group_has_so_many_places(void) {
   setup(0, 0);
   knap_link_t *links[KNAP_GROUP_MEMBERS];
   void *memory = mmap(NULL, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
   knap_link_config_t config = {.party = party, .memory = memory, .is_host = 1, .group = group, .call = in_host};
   for (int i = 0; i < KNAP_GROUP_MEMBERS; i++) CHECK((links[i] = knap_link_create(&config)));
   CHECK(!knap_link_create(&config));
   knap_link_destroy(links[5]);
   CHECK((links[5] = knap_link_create(&config)));
   for (int i = 0; i < KNAP_GROUP_MEMBERS; i++) knap_link_destroy(links[i]);
   munmap(memory, KNAP_LINK_MEMORY);
   teardown();
}

int main(void) {
   a_call_goes_to_the_member_with_the_fewest_in_flight();
   many_members_share_evenly();
   no_call_fails_while_members_come_and_leave();
   no_call_that_may_run_twice_fails_while_members_die();
   a_dead_members_calls_go_to_another_or_say_that_they_may_have_run();
   calls_of_the_last_member_wait_at_the_gate();
   pressure_is_told_once_when_all_are_busy();
   a_group_has_so_many_places();
   printf("%d passed, %d failed\n", checks - failures, failures);
   return failures != 0;
}
