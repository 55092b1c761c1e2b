// Whose code each thread runs, and methods that do not return. Built plain, with AddressSanitizer and with ThreadSanitizer by
// Tests/CallEngine/run.
#include "harness.h"
#include <sys/syscall.h>

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
static const knap_caller_t noting = {sizeof noting, 0, noting_complete, ignore_item, on_credit};
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

static atomic_int held_method, held_other, hangs, returns, hanging_blocked, watching, finds;
static void on_held(void *context, const knap_held_t *held) {
   (void)context;
   watching = gettid();
   bool is_method = !strcmp(held->running.what, "bob.holds");
   if (held->stage == KNAP_HELD_LONG && is_method && held->lasted_ns >= 1000000) held_method++;
   else if (held->stage == KNAP_HELD_HANGS && is_method) hangs++;
   else if (held->stage == KNAP_HELD_HANGS && !strcmp(held->running.what, "bob.stays")) hanging_blocked++;
   else if (held->stage == KNAP_HELD_RETURNED) returns++;
   else held_other++;
}
static void holds(void *instance, const knap_request_t *request) {
   (void)instance;
   AWAIT(held_method >= finds); // as long as it takes to be found
   B->calls->complete(B, request->call, NULL);
}

// The thread that watches waits for a call, and not for the next time to look (proc_pid_syscall(5)).
static bool watch_sleeps(void) {
   char path[64], line[16] = "";
   snprintf(path, sizeof path, "/proc/self/task/%d/syscall", watching);
   FILE *file = fopen(path, "r");
   if (!file) return false;
   char *read = fgets(line, sizeof line, file);
   fclose(file);
   return read && strtol(line, NULL, 10) == SYS_futex;
}

static void a_method_that_does_not_return_is_found_and_one_that_may_block_is_not(void) {
   setup_plugins();
   CHECK(knap_engine_watch(engine, on_held, NULL));
   uint64_t holding = provide("bob.holds", holds, NULL, 0, 0);
   uint64_t blocking = provide("bob.blocks", holds, NULL, KNAP_ROUTE_BLOCKING, 0);
   held_method = held_other = 0;
   for (int i = 0; i < 3; i++) {
      finds = i + 1;
      seen_t blocked, seen;
      seen_init(&blocked), seen_init(&seen);
      knap_outgoing_t outgoing = to(&blocked);
      knap_engine_call(A, blocking, &outgoing, NULL); // for as long as the next one takes to be found
      outgoing.context = &seen;
      knap_engine_call(A, holding, &outgoing, NULL);
      seen_wait(&blocked);
      CHECK(held_method >= finds);
      if (i == 1) AWAIT(watch_sleeps()); // the next call must wake it
   }
   EQUAL(held_other, 0);
   knap_engine_destroy(engine);
}

static atomic_bool let_go;
static void until_let_go(void *instance, const knap_request_t *request) {
   (void)instance;
   AWAIT(let_go);
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
   AWAIT(hanging_blocked);
   CHECK(knap_now_ns() - began >= 2200000000);
   EQUAL(hangs + held_method, 0);
   pthread_create(&threads[2], NULL, call_it, &holding);
   AWAIT(hangs);
   EQUAL(held_method, 1);
   EQUAL(returns, 0);
   let_go = true;
   for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
   // The watch may sleep by now: the next call wakes it, and it sees that they have returned.
   call_it(&holding);
   AWAIT(returns >= 2);
   EQUAL(hangs, 1);
   EQUAL(hanging_blocked, 1);
   EQUAL(held_other, 0);
   knap_engine_destroy(engine);
}

int main(void) {
   a_thread_notes_whose_code_it_runs();
   what_a_plugin_serves_can_be_asked();
   a_method_that_does_not_return_is_found_and_one_that_may_block_is_not();
   a_method_that_hangs_is_told_of_once_and_so_is_its_return();
   return outcome();
}
