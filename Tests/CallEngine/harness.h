#pragma once
// What the tests of the call engine share: an engine with two parties, a caller that remembers and callees.
#include <knap_engine.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures, checks;
#define CHECK(condition) \
   do { checks++; if (!(condition)) { failures++; printf("%s:%d: %s\n", __func__, __LINE__, #condition); } } while (0)
#define EQUAL(a, b) \
   do { long long x = (long long)(a), y = (long long)(b); checks++; \
        if (x != y) { failures++; printf("%s:%d: %s is %lld, expected %lld\n", __func__, __LINE__, #a, x, y); } } while (0)

// Waits for what another thread brings about. [any thread]
#define AWAIT(condition) \
   do { for (uint64_t end = knap_now_ns() + 30000000000ull; !(condition); usleep(100)) \
        if (knap_now_ns() > end) { printf("%s:%d: %s did not come about\n", __func__, __LINE__, #condition); abort(); } } while (0)
static inline int outcome(void) {
   printf("%d passed, %d failed\n", checks - failures, failures);
   return failures != 0;
}

static knap_engine_t *engine;
static knap_party_t *alice, *bob;
static const knap_host_t *A, *B;

static inline void setup(void) {
   engine = knap_engine_create(NULL);
   alice = knap_party_create(engine, &(knap_party_config_t){.name = "alice", .assert_principal = 1});
   bob = knap_party_create(engine, &(knap_party_config_t){.name = "bob", .in_flight = 512, .breaker_failures = 5, .breaker_open_ns = 20000000});
   A = knap_party_host(alice);
   B = knap_party_host(bob);
   knap_party_open(alice, 1);
   knap_party_open(bob, 1);
}

static inline uint64_t provide(const char *name, void (*call)(void *, const knap_request_t *), void *instance, uint32_t flags,
                        uint64_t timeout_ns) {
   knap_method_t *method = calloc(1, sizeof *method);
   *method = (knap_method_t){.size = sizeof *method, .name = name, .call = call};
   knap_route_t *route = knap_route_named(engine, name);
   knap_route_provide(engine, route, &(knap_provision_t){.party = bob, .method = method, .instance = instance,
                                                         .flags = flags, .timeout_ns = timeout_ns});
   uint64_t binding = knap_party_bind(alice, route);
   free(method);
   return binding;
}

// ## A caller that remembers
typedef struct {
   atomic_int completions, items, credits;
   atomic_int status;
   char body[192], message[320];
   pthread_mutex_t lock;
   pthread_cond_t changed;
} seen_t;

static inline void seen_complete(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   seen_t *seen = context;
   pthread_mutex_lock(&seen->lock);
   seen->status = result->status;
   size_t size = result->body.size < 191 ? result->body.size : 191;
   if (size) memcpy(seen->body, result->body.data, size);
   seen->body[size] = 0;
   snprintf(seen->message, sizeof seen->message, "%.*s", (int)result->message.size, result->message.size ? result->message.data : "");
   seen->completions++;
   pthread_cond_broadcast(&seen->changed);
   pthread_mutex_unlock(&seen->lock);
}
static inline void seen_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)item;
   seen_t *seen = context;
   seen->items++;
   A->calls->grant(A, call, 1);
}
static inline void seen_credit(void *context, knap_call_t call) { (void)call; ((seen_t *)context)->credits++; }
static const knap_caller_t caller = {sizeof caller, 0, seen_complete, seen_item, seen_credit};

static inline void seen_init(seen_t *seen) {
   memset(seen, 0, sizeof *seen);
   pthread_mutex_init(&seen->lock, NULL);
   pthread_cond_init(&seen->changed, NULL);
}
static inline void seen_wait(seen_t *seen) {
   pthread_mutex_lock(&seen->lock);
   while (!seen->completions) pthread_cond_wait(&seen->changed, &seen->lock);
   pthread_mutex_unlock(&seen->lock);
}
static inline knap_outgoing_t to(seen_t *seen) {
   return (knap_outgoing_t){.size = sizeof(knap_outgoing_t), .credit = 1, .caller = &caller, .context = seen};
}
static inline uint64_t in_flight(void) {
   knap_party_counts_t counts;
   knap_party_count(bob, &counts);
   return counts.in_flight;
}

// ## Callees
static inline void echo(void *instance, const knap_request_t *request) {
   (void)instance;
   knap_result_t result = {.size = sizeof result, .body = request->body};
   B->calls->complete(B, request->call, &result);
}
static _Atomic knap_call_t held;
static atomic_int cancels, closes, callee_items, half_closes;
static inline void hold(void *instance, const knap_request_t *request) { (void)instance; held = request->call; }
static inline void on_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)context; (void)item;
   callee_items++;
   B->calls->grant(B, call, 1);
}
static inline void on_half_close(void *context, knap_call_t call) { (void)context; (void)call; half_closes++; }
static inline void on_credit(void *context, knap_call_t call) { (void)context; (void)call; }
static inline void on_cancel(void *context, knap_call_t call, knap_status_t reason) {
   (void)context; (void)call; (void)reason;
   cancels++;
}
static inline void on_closed(void *context) { (void)context; closes++; }
static const knap_callee_t callee = {sizeof callee, 0, on_item, on_half_close, on_credit, on_cancel, on_closed};
static inline void hold_listening(void *instance, const knap_request_t *request) {
   (void)instance;
   B->calls->listen(B, request->call, &callee, NULL);
   B->calls->grant(B, request->call, 1);
   held = request->call;
}

// A method that fails with the status at `instance`, a timer that counts, and a caller's ear for items that do not matter.
static inline void fail(void *instance, const knap_request_t *request) {
   knap_result_t result = {.size = sizeof result, .status = *(knap_status_t *)instance};
   B->calls->complete(B, request->call, &result);
}
static inline void count_fire(void *context) { (*(atomic_int *)context)++; }
static inline void ignore_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
