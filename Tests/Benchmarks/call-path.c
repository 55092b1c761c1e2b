// What a call through the engine costs, beside a bare function-pointer call in the same run. Prints one row a case:
// nanoseconds a call (median of 15 rounds) and heap allocations a call.
#include <dlfcn.h>
#include <knap_engine.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_ullong allocations;
extern void *__libc_malloc(size_t size);
void *malloc(size_t size) {
   atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
   return __libc_malloc(size);
}

static knap_engine_t *engine;
static const knap_host_t *A, *B;
static uint64_t binding;

static void empty_method(void *instance, const knap_request_t *request) {
   (void)instance;
   B->calls->complete(B, request->call, NULL);
}
static void done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   *(uint64_t *)context += (uint64_t)(result->status == 0);
}
static void item(void *context, knap_call_t call, const knap_item_t *value) { (void)context; (void)call; (void)value; }
static void credit(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_caller_t caller = {sizeof caller, 0, done, item, credit};

typedef void (*method_f)(void *instance, const knap_request_t *request);
static void nothing(void *instance, const knap_request_t *request) { (void)instance; (void)request; }
static volatile method_f pointer = nothing;

static uint64_t bare(uint64_t rounds) {
   knap_request_t request = {.size = sizeof request};
   for (uint64_t i = 0; i < rounds; i++) pointer(NULL, &request);
   return rounds;
}

static uint64_t through_engine(uint64_t rounds) {
   uint64_t ended = 0;
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .caller = &caller, .context = &ended};
   for (uint64_t i = 0; i < rounds; i++) knap_engine_call(A, binding, &outgoing, NULL);
   return ended;
}

static void begin(void *instance, const knap_observation_t *call) { (void)instance; (void)call; }
static knap_status_t decide(void *instance, const knap_call_info_t *call, knap_bytes_t body, knap_text_t *message) {
   (void)instance; (void)call; (void)body; (void)message;
   return KNAP_OK;
}

static int ascending(const void *a, const void *b) {
   double x = *(const double *)a, y = *(const double *)b;
   return x < y ? -1 : x > y;
}

enum { CALLS = 1000000, ROUNDS = 15 };

static double measure(const char *name, uint64_t (*run)(uint64_t), double relative_to) {
   double times[ROUNDS];
   run(CALLS / 10);
   uint64_t before = atomic_load(&allocations);
   for (int round = 0; round < ROUNDS; round++) {
      uint64_t start = knap_now_ns();
      if (run(CALLS) != CALLS) {
         printf("%s: not every call ended OK\n", name);
         exit(1);
      }
      times[round] = (double)(knap_now_ns() - start) / CALLS;
   }
   uint64_t made = atomic_load(&allocations) - before;
   qsort(times, ROUNDS, sizeof *times, ascending);
   double median = times[ROUNDS / 2];
   printf("%-44s %8.1f ns %8.1f ns %8.1f x %8.3f\n", name, median, times[0], relative_to ? median / relative_to : 1.0,
          (double)made / ((double)CALLS * ROUNDS));
   return median;
}

static pthread_barrier_t together;
static void *half(void *time) {
   double times[ROUNDS];
   for (int round = 0; round < ROUNDS; round++) {
      pthread_barrier_wait(&together);
      uint64_t start = knap_now_ns();
      through_engine(CALLS);
      times[round] = (double)(knap_now_ns() - start) / CALLS;
   }
   qsort(times, ROUNDS, sizeof *times, ascending);
   *(double *)time = times[ROUNDS / 2];
   return NULL;
}

int main(void) {
   engine = knap_engine_create(NULL);
   knap_party_t *a = knap_party_create(engine, &(knap_party_config_t){.name = "caller"});
   // Everything on: a default deadline, a bulkhead, a breaker.
   knap_party_t *b = knap_party_create(engine, &(knap_party_config_t){.name = "callee", .in_flight = 1024,
                                                                       .breaker_failures = 5, .breaker_open_ns = 1000000000});
   knap_party_t *c = knap_party_create(engine, &(knap_party_config_t){.name = "guard"});
   A = knap_party_host(a);
   B = knap_party_host(b);
   knap_party_open(a, 1);
   knap_party_open(b, 1);
   knap_party_open(c, 1);
   knap_method_t method = {sizeof method, 0, "bench.empty", empty_method};
   knap_route_t *route = knap_route_named(engine, method.name);
   knap_route_provide(engine, route, &(knap_provision_t){.party = b, .method = &method, .timeout_ns = 30000000000ull});
   binding = knap_party_bind(a, route);

   printf("%-44s %11s %11s %10s %8s\n", "an empty call, in-process", "median", "best", "ratio", "allocs");
   double limit = measure("a bare function pointer", bare, 0);
   double one = measure("through the engine", through_engine, limit);

   knap_plugin_observe_t observe = {sizeof observe, 0, begin, begin};
   knap_plugin_intercept_t intercept = {sizeof intercept, 0, decide};
   knap_hooked_t hooked = {NULL, &observe, NULL, c};
   knap_engine_hooks(engine, &hooked, 1, NULL);
   measure("  with an observer", through_engine, limit);
   hooked = (knap_hooked_t){NULL, NULL, &intercept, c};
   knap_engine_hooks(engine, &hooked, 1, NULL);
   measure("  with an interceptor", through_engine, limit);
   knap_engine_hooks(engine, NULL, 0, NULL);

   double times[2];
   pthread_t threads[2];
   pthread_barrier_init(&together, NULL, 2);
   for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, half, &times[i]);
   for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
   double slower = times[0] > times[1] ? times[0] : times[1];
   printf("%-44s %8.1f ns %11s %8.2f x of one thread\n", "  two threads at once, each", slower, "", slower / one);
   return 0;
}
