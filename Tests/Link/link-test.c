// Two engines in one process, joined by a link as a host and its worker are: calls, streams, cancellation, deadlines,
// large bodies, parents, a flood, nonsense in the ring, and the death of one side.
#include <knap_link.h>
#include "../../Host/Link/ring.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_int failures, checks;
#define CHECK(condition) \
   do { checks++; if (!(condition)) { failures++; printf("%s:%d: %s\n", __func__, __LINE__, #condition); } } while (0)
#define EQUAL(a, b) \
   do { long long x = (long long)(a), y = (long long)(b); checks++; \
        if (x != y) { failures++; printf("%s:%d: %s is %lld, expected %lld\n", __func__, __LINE__, #a, x, y); } } while (0)

// The host's engine has a client and the party "plugin"; the worker's the plugin and the party "host".
static knap_engine_t *host_engine, *worker_engine;
static knap_party_t *client, *plugin_there, *plugin, *host_there;
static knap_link_t *host_link, *worker_link;
static knap_poller_t *host_poller;
static pthread_t server; // the worker's keeper
static atomic_bool is_serving, must_stop;
static void *memory;
static int descriptor, bell;
static uint64_t into_plugin[8], of_plugin;
static const knap_host_t *C, *P; // the client's and the plugin's

enum { ECHO, HOLD, STREAM, CALL_BACK, CREDIT_ONE, WHO, TAKE, SPEND, METHODS };

static knap_status_t in_worker(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                               knap_call_t *call) {
   (void)context;
   if (method >= METHODS) return KNAP_UNIMPLEMENTED;
   return knap_engine_call_for(knap_party_host(host_there), into_plugin[method], outgoing, origin, call);
}
static knap_status_t in_host(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                             knap_call_t *call) {
   (void)context; (void)origin;
   return knap_engine_call(knap_party_host(plugin_there), method, outgoing, call);
}

// ## The plugin
static _Atomic knap_call_t held;
static atomic_int cancels, items_in, half_closes, echoes;
static void answer(knap_call_t call, const char *text) {
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)text, strlen(text)}};
   P->calls->complete(P, call, &result);
}
static void echo(void *instance, const knap_request_t *request) {
   (void)instance;
   echoes++;
   knap_result_t result = {.size = sizeof result, .body = request->body, .content_type = {"text/x", 6}};
   P->calls->complete(P, request->call, &result);
}
static void ignore_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void ignore(void *context, knap_call_t call) { (void)context; (void)call; }
static void on_cancel(void *context, knap_call_t call, knap_status_t reason) {
   (void)context; (void)reason;
   cancels++;
   P->calls->complete(P, call, NULL);
}
static void closed(void *context) { (void)context; }
static const knap_callee_t holding = {sizeof holding, 0, ignore_item, ignore, ignore, on_cancel, closed};
static void hold(void *instance, const knap_request_t *request) {
   (void)instance;
   held = request->call;
   P->calls->listen(P, request->call, &holding, NULL);
}
// Sends each item back, then ends.
static void stream_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)context;
   items_in++;
   knap_item_t back = {.size = sizeof back, .kind = KNAP_ITEM_DATA, .id = item->id, .body = item->body};
   EQUAL(P->calls->send(P, call, &back), KNAP_OK);
   P->calls->grant(P, call, 1);
}
static void stream_end(void *context, knap_call_t call) {
   (void)context;
   half_closes++;
   answer(call, "end");
}
static const knap_callee_t streaming = {sizeof streaming, 0, stream_item, stream_end, ignore, on_cancel, closed};
static void stream(void *instance, const knap_request_t *request) {
   (void)instance;
   P->calls->listen(P, request->call, &streaming, NULL);
   P->calls->grant(P, request->call, 4);
}
// Pushes 1,000 items as credit comes.
static atomic_int pushed;
static void push(knap_call_t call) {
   while (pushed < 1000) {
      knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .id = (uint64_t)pushed + 1};
      if (P->calls->send(P, call, &item) != KNAP_OK) return;
      pushed++;
   }
   answer(call, "pushed");
}
static void push_more(void *context, knap_call_t call) { (void)context; push(call); }
static const knap_callee_t pushing = {sizeof pushing, 0, ignore_item, ignore, push_more, on_cancel, closed};
static void credit_one(void *instance, const knap_request_t *request) {
   (void)instance;
   pushed = 0;
   P->calls->listen(P, request->call, &pushing, NULL);
   push(request->call);
}
// Sends as many items as it may, until it is cancelled.
static void spend(void *context, knap_call_t call) {
   (void)context;
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA};
   while (P->calls->send(P, call, &item) == KNAP_OK) {}
}
static const knap_callee_t spending = {sizeof spending, 0, ignore_item, ignore, spend, on_cancel, closed};
static void spend_all(void *instance, const knap_request_t *request) {
   (void)instance;
   P->calls->listen(P, request->call, &spending, NULL);
   spend(NULL, request->call);
}
// Calls the host's "client.echo" and answers what it answered.
static void called_back(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   P->calls->complete(P, (knap_call_t)(uintptr_t)context, result);
}
static const knap_caller_t calling_back = {sizeof calling_back, 0, called_back, ignore_item, ignore};
static void call_back(void *instance, const knap_request_t *request) {
   (void)instance;
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .parent = request->call, .body = request->body,
                               .caller = &calling_back, .context = (void *)(uintptr_t)request->call};
   if (knap_engine_call(P, of_plugin, &outgoing, NULL) != KNAP_OK) answer(request->call, "refused");
}
static void who(void *instance, const knap_request_t *request) {
   (void)instance;
   knap_call_info_t info = {.size = sizeof info};
   P->calls->info(P, request->call, &info);
   char text[200];
   snprintf(text, sizeof text, "%.*s %.*s %.*s %d", (int)info.caller.size, info.caller.data, (int)info.principal.size,
            info.principal.data, (int)info.trace.size, info.trace.data, info.deadline_ns != 0);
   answer(request->call, text);
}
// Takes as many nanoseconds as it is told.
static void take(void *instance, const knap_request_t *request) {
   (void)instance;
   uint32_t ns;
   memcpy(&ns, request->body.data, sizeof ns);
   for (uint64_t until = knap_now_ns() + ns; knap_now_ns() < until;) {}
   answer(request->call, "took it");
}
static void (*const methods[METHODS])(void *, const knap_request_t *) = {echo, hold, stream, call_back, credit_one, who, take, spend_all};

// ## The client
typedef struct {
   atomic_int done, status, items;
   char body[128], content_type[16];
   uint64_t size, sum;
} seen_t;
static void seen_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   seen_t *seen = context;
   seen->status = result->status;
   seen->size = result->body.size;
   for (uint64_t i = 0; i < result->body.size; i++) seen->sum += result->body.data[i];
   snprintf(seen->body, sizeof seen->body, "%.*s", (int)(result->body.size < 127 ? result->body.size : 127),
            result->body.data ? (const char *)result->body.data : "");
   snprintf(seen->content_type, sizeof seen->content_type, "%.*s", (int)result->content_type.size,
            result->content_type.data ? result->content_type.data : "");
   seen->done++;
}
static void seen_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)item;
   ((seen_t *)context)->items++;
   C->calls->grant(C, call, 1);
}
static const knap_caller_t caller = {sizeof caller, 0, seen_done, seen_item, ignore};
static uint64_t bindings[METHODS];

static void call_body(seen_t *seen, int method, knap_bytes_t body, knap_outgoing_t outgoing, knap_call_t *call) {
   memset(seen, 0, sizeof *seen);
   outgoing.size = sizeof outgoing;
   outgoing.body = body;
   outgoing.caller = &caller;
   outgoing.context = seen;
   EQUAL(knap_engine_call(C, bindings[method], &outgoing, call), KNAP_OK);
}
static void call_text(seen_t *seen, int method, const char *text, knap_outgoing_t outgoing, knap_call_t *call) {
   call_body(seen, method, (knap_bytes_t){(const uint8_t *)text, strlen(text)}, outgoing, call);
}
#define WAIT_FOR(condition) \
   do { uint64_t limit = knap_now_ns() + 20000000000; \
        while (!(condition) && knap_now_ns() < limit) usleep(50); \
        CHECK(condition); } while (0)

static void client_echo(void *instance, const knap_request_t *request) {
   (void)instance;
   knap_call_info_t info = {.size = sizeof info};
   C->calls->info(C, request->call, &info);
   char text[200];
   snprintf(text, sizeof text, "%.*s for %.*s", (int)info.caller.size, info.caller.data, (int)info.principal.size, info.principal.data);
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)text, strlen(text)}};
   C->calls->complete(C, request->call, &result);
}

static void provide(knap_engine_t *engine, const char *name, knap_party_t *party, void (*call)(void *, const knap_request_t *),
                    void *instance, uint32_t index) {
   knap_method_t method = {.size = sizeof method, .name = name, .call = call};
   knap_route_provide(engine, knap_route_named(engine, name),
                      &(knap_provision_t){.party = party, .method = &method, .instance = instance, .index = index});
}

static void *serve(void *context) {
   (void)context;
   while (!must_stop && knap_link_serve(worker_link)) {}
   return NULL;
}
// From here on the worker takes nothing.
static void stop_serving(void) {
   if (!is_serving) return;
   must_stop = true;
   while (pthread_tryjoin_np(server, NULL)) knap_ring_wake(memory, -1), usleep(20);
   is_serving = false;
}

static void join(void) {
   memory = mmap(NULL, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
   host_link = knap_link_create(&(knap_link_config_t){.party = plugin_there, .memory = memory, .is_host = 1,
                                .doorbell = bell, .other_doorbell = -1, .call = in_host});
   worker_link = knap_link_create(&(knap_link_config_t){.party = host_there, .memory = memory,
                                  .doorbell = -1, .other_doorbell = bell, .call = in_worker});
   knap_poller_add(host_poller, host_link);
   must_stop = false;
   is_serving = true;
   pthread_create(&server, NULL, serve, NULL);
}

static void setup(void) {
   host_engine = knap_engine_create(NULL);
   worker_engine = knap_engine_create(NULL);
   client = knap_party_create(host_engine, &(knap_party_config_t){.name = "client", .assert_principal = 1});
   plugin_there = knap_party_create(host_engine, &(knap_party_config_t){.name = "plugin"});
   plugin = knap_party_create(worker_engine, &(knap_party_config_t){.name = "plugin"});
   host_there = knap_party_create(worker_engine, &(knap_party_config_t){.name = "host", .assert_principal = 1});
   C = knap_party_host(client), P = knap_party_host(plugin);
   knap_party_t *all[] = {client, plugin_there, plugin, host_there};
   for (int i = 0; i < 4; i++) knap_party_open(all[i], 1);
   descriptor = knap_link_memory();
   bell = eventfd(0, 0);
   host_poller = knap_poller_create();
   join();
   char name[16];
   for (uint32_t i = 0; i < METHODS; i++) {
      snprintf(name, sizeof name, "plugin.%u", i);
      provide(worker_engine, name, plugin, methods[i], NULL, i);
      into_plugin[i] = knap_party_bind(host_there, knap_route_named(worker_engine, name));
      provide(host_engine, name, plugin_there, knap_link_forward, host_link, i);
      bindings[i] = knap_party_bind(client, knap_route_named(host_engine, name));
   }
   provide(host_engine, "client.echo", client, client_echo, NULL, 0);
   uint64_t there = knap_party_bind(plugin_there, knap_route_named(host_engine, "client.echo"));
   provide(worker_engine, "client.echo", host_there, knap_link_forward, worker_link, (uint32_t)there);
   of_plugin = knap_party_bind(plugin, knap_route_named(worker_engine, "client.echo"));
}

static void part(void) {
   knap_poller_remove(host_poller, host_link);
   stop_serving();
   knap_link_break(worker_link);
   knap_link_break(host_link);
   // A thread that tells of a deadline or a cancellation may still be in one of them.
   knap_link_t *links[] = {host_link, worker_link};
   for (int i = 0; i < 2; i++) {
      knap_link_counts_t counts;
      do knap_link_count(links[i], &counts); while (counts.in_flight);
      knap_link_destroy(links[i]);
   }
   munmap(memory, KNAP_LINK_MEMORY);
}
static void teardown(void) {
   part();
   knap_poller_destroy(host_poller);
   knap_engine_destroy(host_engine);
   knap_engine_destroy(worker_engine);
   close(descriptor), close(bell);
}
static const knap_outgoing_t plain = {0};

static void a_call_and_its_answer_cross(void) {
   setup();
   seen_t seen;
   call_text(&seen, ECHO, "hello", plain, NULL);
   WAIT_FOR(seen.done);
   EQUAL(seen.status, KNAP_OK);
   CHECK(!strcmp(seen.body, "hello") && !strcmp(seen.content_type, "text/x"));
   knap_outgoing_t told = {.principal = {"user:ann", 8}, .trace = {"00-1", 4}, .deadline_ns = knap_now_ns() + 10000000000};
   call_text(&seen, WHO, "", told, NULL);
   WAIT_FOR(seen.done);
   CHECK(!strcmp(seen.body, "client user:ann 00-1 1"));
   knap_party_counts_t counts;
   knap_party_count(plugin_there, &counts);
   EQUAL(counts.in_flight, 0);
   teardown();
}

static void large_bodies_cross_whole(void) {
   setup();
   for (uint64_t size = 1; size <= KNAP_BODY_LARGEST; size = size < 20u << 20 || size == KNAP_BODY_LARGEST ? size * 3 + 7 : KNAP_BODY_LARGEST) {
      uint8_t *body = malloc(size);
      uint64_t sum = 0;
      for (uint64_t i = 0; i < size; i++) sum += body[i] = (uint8_t)(i * 31 + i / 997);
      seen_t seen;
      call_body(&seen, ECHO, (knap_bytes_t){body, size}, plain, NULL);
      WAIT_FOR(seen.done);
      EQUAL(seen.size, size);
      EQUAL(seen.sum, sum);
      free(body);
   }
   teardown();
}

static void cancel_and_deadline_reach_the_plugin(void) {
   setup();
   seen_t seen;
   knap_call_t call;
   cancels = 0;
   held = 0;
   call_text(&seen, HOLD, "", plain, &call);
   WAIT_FOR(held);
   C->calls->cancel(C, call);
   EQUAL(seen.status, KNAP_CANCELLED);
   WAIT_FOR(cancels == 1);
   knap_outgoing_t soon = {.deadline_ns = knap_now_ns() + 20000000};
   call_text(&seen, HOLD, "", soon, &call);
   WAIT_FOR(seen.done);
   EQUAL(seen.status, KNAP_DEADLINE_EXCEEDED);
   WAIT_FOR(cancels == 2);
   knap_party_counts_t counts;
   do knap_party_count(plugin_there, &counts); while (counts.in_flight);
   teardown();
}

static void items_and_credit_cross_both_ways(void) {
   setup();
   seen_t seen;
   knap_call_t call;
   items_in = half_closes = 0;
   knap_outgoing_t duplex = {.flags = KNAP_OUTGOING_STREAMS, .credit = 4};
   call_text(&seen, STREAM, "", duplex, &call);
   for (int i = 0; i < 2000;) {
      knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .id = (uint64_t)i, .body = {(const uint8_t *)"item", 4}};
      if (C->calls->send(C, call, &item) == KNAP_OK) i++;
   }
   C->calls->half_close(C, call);
   WAIT_FOR(seen.done);
   EQUAL(seen.items, 2000);
   EQUAL(items_in, 2000);
   EQUAL(half_closes, 1);
   CHECK(!strcmp(seen.body, "end"));
   knap_outgoing_t one = {.credit = 1};
   call_text(&seen, CREDIT_ONE, "", one, NULL);
   WAIT_FOR(seen.done);
   EQUAL(seen.items, 1000);
   CHECK(!strcmp(seen.body, "pushed"));
   teardown();
}

// Somebody grants while the call is on its way: an interceptor tells of it just before.
static knap_call_t called;
static _Atomic knap_call_t under_way;
static knap_status_t tell(void *instance, const knap_call_info_t *call, knap_bytes_t body, knap_text_t *message) {
   (void)instance; (void)call; (void)body; (void)message;
   under_way = called;
   return KNAP_OK;
}
static atomic_int granting;
static void *grant_at_once(void *unused) {
   (void)unused;
   for (unsigned state = 1; granting;) {
      knap_call_t call = atomic_exchange(&under_way, 0);
      for (int i = 0; call && i < 3; i++) {
         for (int pause = rand_r(&state) % 100; pause; pause--) __builtin_ia32_pause();
         EQUAL(C->calls->grant(C, call, 1), KNAP_OK);
      }
   }
   return NULL;
}
static void only_count(void *context, knap_call_t call, const knap_item_t *item) {
   (void)call; (void)item;
   ((seen_t *)context)->items++;
}
static const knap_caller_t counting = {sizeof counting, 0, seen_done, only_count, ignore};
static void what_is_granted_while_the_request_goes_out_counts_once(void) {
   setup();
   knap_party_t *guard = knap_party_create(host_engine, &(knap_party_config_t){.name = "guard"});
   knap_party_open(guard, 1);
   knap_plugin_intercept_t intercept = {sizeof intercept, 0, tell};
   knap_engine_hooks(host_engine, &(knap_hooked_t){NULL, NULL, &intercept, guard}, 1, NULL);
   granting = 1;
   under_way = 0;
   pthread_t granter;
   pthread_create(&granter, NULL, grant_at_once, NULL);
   for (int i = 0; i < 3000; i++) {
      seen_t seen = {0};
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .credit = 2, .caller = &counting, .context = &seen};
      EQUAL(knap_engine_call(C, bindings[SPEND], &outgoing, &called), KNAP_OK);
      uint64_t limit = knap_now_ns() + 5000000000;
      while (seen.items < 5 && knap_now_ns() < limit) {}
      EQUAL(seen.items, 5);
      EQUAL(seen.done, 0); // the link broke, had more come
      if (seen.items != 5 || seen.done) break;
      knap_party_end_calls(plugin_there, &(knap_result_t){.size = sizeof(knap_result_t)});
      WAIT_FOR(seen.done);
   }
   granting = 0;
   pthread_join(granter, NULL);
   knap_party_counts_t counts;
   do knap_party_count(plugin_there, &counts); while (counts.in_flight);
   teardown();
}

static void a_plugin_calls_back_for_the_call_it_serves(void) {
   setup();
   seen_t seen;
   knap_outgoing_t told = {.principal = {"user:ann", 8}};
   call_text(&seen, CALL_BACK, "x", told, NULL);
   WAIT_FOR(seen.done);
   CHECK(!strcmp(seen.body, "plugin for user:ann"));
   teardown();
}

static atomic_int answered, bad;
static void flood_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)context; (void)call;
   if (result->status != KNAP_OK && result->status != KNAP_RESOURCE_EXHAUSTED) bad++;
   answered++;
}
static const knap_caller_t flooding = {sizeof flooding, 0, flood_done, ignore_item, ignore};
static uint8_t flood_body[5000];
static void *flood(void *seed) {
   for (int i = 0; i < 20000; i++) {
      uint64_t size = (uint64_t)((uintptr_t)seed * 7919 + (uintptr_t)i * 104729) % sizeof flood_body;
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .body = {flood_body, size}, .caller = &flooding};
      knap_engine_call(C, bindings[ECHO], &outgoing, NULL);
   }
   return NULL;
}
static void a_flood_of_callers_gets_every_answer_once(void) {
   setup();
   answered = bad = 0;
   pthread_t threads[4];
   for (uintptr_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, flood, (void *)i);
   for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
   WAIT_FOR(answered == 80000);
   EQUAL(bad, 0);
   knap_party_counts_t counts;
   knap_party_count(plugin_there, &counts);
   EQUAL(counts.in_flight, 0);
   EQUAL(counts.misused, 0);
   teardown();
}

// A caller that makes 64 calls ahead and then waits for the oldest, and one that never waits although it said so.
static void a_caller_waits_for_calls_that_it_made_ahead(void) {
   enum { WINDOW = 64, CALLS = 20000 };
   setup();
   static seen_t seen[WINDOW];
   static knap_call_t calls[WINDOW];
   bad = 0;
   for (int i = 0; i < CALLS + WINDOW; i++) {
      seen_t *one = &seen[i % WINDOW];
      uint64_t limit = knap_now_ns() + 20000000000;
      knap_status_t status = KNAP_UNAVAILABLE;
      while (i >= WINDOW && (status = C->calls->wait(C, calls[i % WINDOW])) != KNAP_OK && knap_now_ns() < limit) {}
      if (i >= WINDOW && (one->done != 1 || one->status != KNAP_OK)) bad++;
      if (i < CALLS) call_text(one, ECHO, "ahead", (knap_outgoing_t){.flags = KNAP_OUTGOING_WAITS}, &calls[i % WINDOW]);
   }
   EQUAL(bad, 0);
   // What nobody waits for comes with the next that somebody does.
   call_text(&seen[0], ECHO, "one", (knap_outgoing_t){.flags = KNAP_OUTGOING_WAITS}, &calls[0]);
   call_text(&seen[1], ECHO, "two", plain, NULL);
   WAIT_FOR(seen[0].done && seen[1].done);
   WAIT_FOR(C->calls->wait(C, calls[0]) == KNAP_OK);
   // One that takes longer is not waited for, and its answer comes by itself.
   held = 0;
   call_text(&seen[0], HOLD, "", (knap_outgoing_t){.flags = KNAP_OUTGOING_WAITS}, &calls[0]);
   WAIT_FOR(held);
   EQUAL(C->calls->wait(C, calls[0]), KNAP_UNAVAILABLE);
   EQUAL(seen[0].done, 0);
   P->calls->complete(P, held, NULL);
   WAIT_FOR(C->calls->wait(C, calls[0]) == KNAP_OK);
   EQUAL(seen[0].done, 1);
   EQUAL(C->calls->wait(C, 12345), KNAP_OK); // no call of anybody's
   // Over a link that breaks.
   call_text(&seen[0], HOLD, "", (knap_outgoing_t){.flags = KNAP_OUTGOING_WAITS}, &calls[0]);
   stop_serving();
   knap_link_break(host_link);
   WAIT_FOR(C->calls->wait(C, calls[0]) == KNAP_OK);
   EQUAL(seen[0].done, 1);
   teardown();
}

// Callers that wait for each answer, which takes about as long as they watch for it, and rest now and then: at any moment
// somebody is about to sleep, to stop watching or to be woken.
static void *rest_and_call(void *seed) {
   unsigned state = (unsigned)(uintptr_t)seed + 1;
   for (int i = 0; i < 10000; i++) {
      seen_t seen;
      uint32_t ns = (uint32_t)rand_r(&state) % 5000;
      call_body(&seen, TAKE, (knap_bytes_t){(const uint8_t *)&ns, sizeof ns}, plain, NULL);
      uint64_t limit = knap_now_ns() + 20000000000;
      while (!seen.done && knap_now_ns() < limit) {}
      if (!seen.done || seen.status) bad++;
      if (!seen.done) return NULL;
      if (rand_r(&state) % 4 == 0) usleep((unsigned)rand_r(&state) % 60);
   }
   return NULL;
}
static void nobody_sleeps_through_his_message(void) {
   setup();
   bad = 0;
   rest_and_call(NULL); // alone, where no other thread's call finds what was missed
   pthread_t threads[3];
   for (uintptr_t i = 0; i < 3; i++) pthread_create(&threads[i], NULL, rest_and_call, (void *)(i + 1));
   for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
   EQUAL(bad, 0);
   // Requests of the worker's, which nobody watches for, come through at once as well.
   for (int i = 0; i < 300; i++) {
      seen_t seen;
      usleep((unsigned)(i * 7 % 80));
      call_text(&seen, CALL_BACK, "", plain, NULL);
      WAIT_FOR(seen.done);
   }
   teardown();
}

// A worker that writes what it likes into the words at which the host sleeps, and never answers.
static atomic_bool must_end;
static void *scribble(void *context) {
   (void)context;
   unsigned state = 1;
   knap_ring_shared_t *rings = memory;
   while (!must_end)
      for (int i = 0; i < 2; i++) {
         rings[i].parked = (unsigned)rand_r(&state) % 4;
         rings[i].watch = (unsigned)rand_r(&state);
         rings[i].waits = (unsigned)rand_r(&state) % 2;
         knap_ring_doorbell(bell);
      }
   return NULL;
}
static void a_worker_that_scribbles_delays_only_its_own_calls(void) {
   setup();
   stop_serving();
   must_end = false;
   pthread_t scribbler;
   pthread_create(&scribbler, NULL, scribble, NULL);
   seen_t seen[50];
   for (int i = 0; i < 50; i++) call_text(&seen[i], HOLD, "", plain, NULL); // each returns
   // A link of the same poller's.
   void *others = mmap(NULL, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
   int other_bell = eventfd(0, 0);
   knap_party_t *other_there = knap_party_create(host_engine, &(knap_party_config_t){.name = "other"});
   knap_party_open(other_there, 1);
   knap_link_t *here = knap_link_create(&(knap_link_config_t){.party = other_there, .memory = others, .is_host = 1,
                                        .doorbell = other_bell, .other_doorbell = -1, .call = in_host});
   knap_poller_add(host_poller, here);
   provide(host_engine, "other.echo", other_there, knap_link_forward, here, ECHO);
   uint64_t binding = knap_party_bind(client, knap_route_named(host_engine, "other.echo"));
   knap_link_t *there = knap_link_create(&(knap_link_config_t){.party = host_there, .memory = others, .doorbell = -1,
                                         .other_doorbell = other_bell, .call = in_worker});
   for (int i = 0; i < 50; i++) {
      seen_t other = {0};
      knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &caller, .context = &other};
      EQUAL(knap_engine_call(C, binding, &outgoing, NULL), KNAP_OK); // nobody serves yet, so the poller gets the answer
      knap_link_poll(there, 0);
      WAIT_FOR(other.done);
      EQUAL(other.status, KNAP_OK);
   }
   must_end = true;
   pthread_join(scribbler, NULL);
   knap_poller_remove(host_poller, here);
   knap_link_break(here), knap_link_break(there);
   knap_link_destroy(here), knap_link_destroy(there);
   teardown();
   for (int i = 0; i < 50; i++) CHECK(seen[i].done);
   munmap(others, KNAP_LINK_MEMORY);
   close(other_bell);
}

// A worker that sends without end keeps neither a caller nor the poller.
static void *flood_ring(void *context) {
   (void)context;
   knap_ring_shared_t *ring = (knap_ring_shared_t *)memory + 1;
   // Messages of a call that is not, over and over; the indexes claim that there are always more.
   for (uint64_t at = 0; at < RING_BYTES; at += 32) {
      knap_message_t message = {.kind = 3, .flags = 1, .tag = 1, .serial = 77, .b = 1};
      memcpy(ring->bytes + at, &message, sizeof message);
   }
   for (uint64_t tail = 0; !must_end; tail += 3200) {
      while (tail - ring->head > RING_BYTES - 6400 && !must_end) {}
      atomic_store(&ring->tail, tail);
      if (atomic_exchange(&ring->parked, 0)) knap_ring_doorbell(bell);
   }
   return NULL;
}
static void a_worker_that_floods_keeps_nobody(void) {
   setup();
   stop_serving();
   must_end = false;
   pthread_t flooder;
   pthread_create(&flooder, NULL, flood_ring, NULL);
   seen_t seen[100];
   for (int i = 0; i < 100; i++) call_text(&seen[i], HOLD, "", plain, NULL); // each returns
   for (int i = 0; i < 20; i++) { // and the poller can be told something
      knap_poller_remove(host_poller, host_link);
      EQUAL(knap_poller_add(host_poller, host_link), 0);
   }
   must_end = true;
   pthread_join(flooder, NULL);
   teardown();
   for (int i = 0; i < 100; i++) CHECK(seen[i].done);
}

static void nonsense_in_the_ring_breaks_the_link_and_nothing_else(void) {
   for (uint32_t seed = 1; seed <= 300; seed++) {
      setup();
      seen_t seen;
      call_text(&seen, HOLD, "", plain, NULL); // one call is in flight
      stop_serving();
      // The "worker" writes at random into its ring and its indexes, and rings.
      knap_ring_shared_t *ring = (knap_ring_shared_t *)memory + 1;
      srandom(seed);
      for (int i = 0; i < 64; i++) ((uint32_t *)ring->bytes)[random() % 64] = (uint32_t)(random() % 3 ? random() % 96 : random());
      ring->bytes[4] = (uint8_t)(1 + random() % 6);
      ring->bytes[5] = 0;
      atomic_store(&ring->tail, seed % 4 ? 32u * (uint64_t)(random() % 40) : (uint64_t)random());
      atomic_store(&((knap_ring_shared_t *)memory)->head, (uint64_t)random());
      atomic_store(&ring->parked, (unsigned)random());
      atomic_store(&ring->watch, (unsigned)random());
      knap_ring_doorbell(bell);
      knap_poller_remove(host_poller, host_link);
      knap_link_poll(host_link, 0);
      knap_link_break(host_link);
      WAIT_FOR(seen.done);
      teardown();
   }
}

static void calls_of_a_dead_worker_are_run_again_or_answered(void) {
   setup();
   seen_t taken, untaken, again, stream, closed_stream, open_stream;
   knap_outgoing_t duplex = {.flags = KNAP_OUTGOING_STREAMS, .credit = 4};
   knap_call_t call, closed_call, open_call;
   held = 0;
   call_text(&taken, HOLD, "", plain, NULL);
   WAIT_FOR(held);
   // One that was begun cannot be had again.
   knap_call_t begun;
   seen_t streaming_one;
   call_text(&streaming_one, STREAM, "", duplex, &begun);
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {(const uint8_t *)"item", 4}};
   while (C->calls->send(C, begun, &item) != KNAP_OK) usleep(50); // until it gives credit
   WAIT_FOR(streaming_one.items == 1);
   // The worker takes nothing more.
   stop_serving();
   call_text(&untaken, ECHO, "later", plain, NULL);
   EQUAL(untaken.done, 0);
   call_text(&stream, STREAM, "", duplex, &call);
   EQUAL(C->calls->send(C, call, &item), KNAP_RESOURCE_EXHAUSTED);
   call_text(&closed_stream, STREAM, "", duplex, &closed_call);
   C->calls->half_close(C, closed_call);
   call_text(&open_stream, STREAM, "", duplex, &open_call);
   knap_poller_remove(host_poller, host_link);
   knap_gate_t *gate = knap_gate_close(host_engine, &plugin_there, 1);
   call_text(&again, ECHO, "new", plain, NULL);
   knap_link_break(host_link);
   EQUAL(taken.status, KNAP_UNKNOWN);
   CHECK(strstr(taken.body, "\"may_have_run\":true"));
   EQUAL(untaken.done, 0);
   EQUAL(streaming_one.status, KNAP_UNKNOWN);
   CHECK(strstr(streaming_one.body, "\"may_have_run\":true"));
   EQUAL(stream.done + closed_stream.done + open_stream.done, 0);
   EQUAL(knap_gate_waiting(gate), 5);
   C->calls->half_close(C, open_call); // while it waits
   int ends = half_closes;
   // Another worker takes over.
   knap_link_break(worker_link);
   knap_link_destroy(host_link), knap_link_destroy(worker_link);
   munmap(memory, KNAP_LINK_MEMORY);
   close(descriptor);
   descriptor = knap_link_memory();
   join();
   for (uint32_t i = 0; i < METHODS; i++) {
      char name[16];
      snprintf(name, sizeof name, "plugin.%u", i);
      provide(host_engine, name, plugin_there, knap_link_forward, host_link, i);
   }
   knap_party_open(plugin_there, 1);
   knap_gate_open(gate);
   WAIT_FOR(untaken.done && again.done);
   CHECK(!strcmp(untaken.body, "later"));
   CHECK(!strcmp(again.body, "new"));
   WAIT_FOR(closed_stream.done && open_stream.done);
   CHECK(!strcmp(closed_stream.body, "end") && !strcmp(open_stream.body, "end"));
   for (int i = 0; i < 500;)
      if (C->calls->send(C, call, &item) == KNAP_OK) i++;
   C->calls->half_close(C, call);
   WAIT_FOR(stream.done);
   EQUAL(stream.items, 500);
   CHECK(!strcmp(stream.body, "end"));
   EQUAL(half_closes, ends + 3);
   teardown();
}

static void a_worker_that_clears_its_memory_has_no_call_run_again(void) {
   setup();
   seen_t before, seen;
   call_text(&before, ECHO, "before", plain, NULL);
   WAIT_FOR(before.done);
   held = 0;
   call_text(&seen, HOLD, "", plain, NULL);
   WAIT_FOR(held);
   stop_serving();
   knap_poller_remove(host_poller, host_link);
   knap_gate_t *gate = knap_gate_close(host_engine, &plugin_there, 1);
   atomic_store(&((knap_ring_shared_t *)memory)->begun, 0);
   knap_link_break(host_link);
   EQUAL(knap_gate_waiting(gate), 0);
   EQUAL(seen.status, KNAP_UNKNOWN);
   knap_party_open(plugin_there, 1);
   knap_gate_open(gate);
   teardown();
}

int main(void) {
   a_call_and_its_answer_cross();
   large_bodies_cross_whole();
   cancel_and_deadline_reach_the_plugin();
   items_and_credit_cross_both_ways();
   what_is_granted_while_the_request_goes_out_counts_once();
   a_plugin_calls_back_for_the_call_it_serves();
   a_flood_of_callers_gets_every_answer_once();
   nobody_sleeps_through_his_message();
   a_caller_waits_for_calls_that_it_made_ahead();
   a_worker_that_scribbles_delays_only_its_own_calls();
   a_worker_that_floods_keeps_nobody();
   nonsense_in_the_ring_breaks_the_link_and_nothing_else();
   calls_of_a_dead_worker_are_run_again_or_answered();
   a_worker_that_clears_its_memory_has_no_call_run_again();
   printf("%d passed, %d failed\n", checks - failures, failures);
   return failures != 0;
}
