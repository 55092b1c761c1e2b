#include "hot.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Whose code each thread runs: told to the black box when the process crashes, and watched for code that does not return.

static bool is_plugins(const knap_target_t *target) { return target && target->party->generation; }

static knap_running_t describe(const knap_target_t *target, const char *what) {
   return (knap_running_t){target->party->name, what ? what : "", target->party->generation};
}

void knap_engine_within(knap_party_t *party, const char *what, void (*work)(void *context), void *context) {
   knap_thread_t *self = knap_thread_self(party->engine);
   const char *outer = self->what;
   self->what = what;
   knap_frame_enter(self, &party->named);
   work(context);
   knap_frame_leave(self);
   self->what = outer;
}

bool knap_engine_running(knap_running_t *running) {
   const knap_thread_t *self = knap_current;
   uint32_t depth = self ? knap_depth(self) : 0;
   if (!depth) return false;
   const knap_target_t *target = atomic_load_explicit(&self->stack[(depth - 1) % KNAP_FRAMES].target, memory_order_relaxed);
   if (!is_plugins(target)) return false;
   *running = describe(target, target->name ? target->name : self->what);
   return true;
}

uint32_t knap_engine_serving(const knap_engine_t *engine, const char *plugin, knap_running_t *serving, uint32_t most) {
   uint32_t count = 0;
   for (uint32_t i = 0; i < KNAP_MAX_CHUNKS; i++) {
      const knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[i], memory_order_acquire);
      for (uint32_t j = 0; chunk && j < KNAP_CHUNK_SLOTS && count < most; j++) {
         uint64_t word = atomic_load_explicit(&chunk[j].word, memory_order_acquire);
         const knap_target_t *target = atomic_load_explicit(&chunk[j].target, memory_order_relaxed);
         if (!(word & WORD_REFS) || (word & WORD_DONE) || !is_plugins(target) || strcmp(target->party->name, plugin)) continue;
         serving[count++] = describe(target, target->name);
      }
      if (!chunk) break;
   }
   return count;
}

// ## The watch

enum { LOOK_NS = 1000000, REST_NS = 20000000, QUIET_ROUNDS = 50 };

struct knap_watch {
   knap_engine_t *engine;
   void         (*held)(void *context, const knap_held_t *held);
   void          *context;
   pthread_t      thread;
   atomic_int     awake; // a futex: 0 while the thread sleeps for want of calls
   atomic_bool    stopping;
};

static void futex(atomic_int *word, int operation, int value) { syscall(SYS_futex, word, operation, value, NULL, NULL, 0); }

static void nap(uint64_t ns) { nanosleep(&(struct timespec){0, (long)ns}, NULL); }

void knap_watch_wake(knap_thread_t *self) {
   struct knap_watch *watch = atomic_load(&self->engine->watch);
   atomic_store_explicit(&self->unwatched, false, memory_order_relaxed);
   if (!watch || atomic_exchange(&watch->awake, 1)) return;
   futex(&watch->awake, FUTEX_WAKE_PRIVATE, 1);
}

// For how long the thread was ready to run and given no processor; 0 where the kernel does not say.
static uint64_t waited_ns(int32_t thread) {
   char path[64], text[64] = "";
   snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", thread);
   int file = open(path, O_RDONLY | O_CLOEXEC);
   if (file < 0) return 0;
   ssize_t size = read(file, text, sizeof text - 1);
   close(file);
   unsigned long long on, off;
   return size > 0 && sscanf(text, "%llu %llu", &on, &off) == 2 ? off : 0;
}

typedef struct {
   const knap_target_t *target; // null: nothing that should return at once
   uint64_t number;
} seen_t;

// What one thread runs at one moment. Only code in this process that should return at once counts.
static seen_t look(const knap_thread_t *thread) {
   uint64_t frames = atomic_load(&thread->frames);
   if (!(uint16_t)frames) return (seen_t){NULL, 0};
   const knap_frame_t *frame = &thread->stack[((uint16_t)frames - 1) % KNAP_FRAMES];
   seen_t seen = {atomic_load(&frame->target), atomic_load(&frame->number)};
   if (atomic_load(&thread->frames) != frames || !is_plugins(seen.target) || (seen.target->flags & KNAP_ROUTE_BLOCKING))
      seen.target = NULL;
   return seen;
}

static bool same(seen_t a, seen_t b) { return a.target && a.target == b.target && a.number == b.number; }

// Threads' records are never freed while the engine lives, and new ones come first, so a list once read stays good.
static knap_thread_t *threads_of(knap_engine_t *engine) {
   pthread_mutex_lock(&engine->lock);
   knap_thread_t *first = engine->threads;
   pthread_mutex_unlock(&engine->lock);
   return first;
}

// A frame that was there a moment ago is looked at for another one, less the time in which its thread had no processor.
static void examine(struct knap_watch *watch, const knap_thread_t *thread, seen_t first, uint64_t since) {
   uint64_t waited = waited_ns(thread->id), began = knap_now_ns();
   nap(LOOK_NS);
   uint64_t now = knap_now_ns(), idle = waited_ns(thread->id) - waited;
   if (!same(first, look(thread)) || now - began < idle + LOOK_NS * 3 / 4) return;
   watch->held(watch->context, &(knap_held_t){.running = describe(first.target, first.target->name), .lasted_ns = now - since});
}

static uint64_t begun(const knap_thread_t *thread) { return atomic_load(&thread->frames) / FRAME_COUNT; }

// One look at all threads and another after a moment. False: nothing was called since `before`.
static bool go_round(struct knap_watch *watch, uint64_t *before) {
   enum { MOST = 256 };
   const knap_thread_t *threads[MOST];
   seen_t frames[MOST];
   uint32_t count = 0;
   uint64_t sum = 0, since = knap_now_ns();
   bool running = false;
   for (knap_thread_t *thread = threads_of(watch->engine); thread; thread = thread->next) {
      sum += begun(thread);
      seen_t seen = look(thread);
      running |= seen.target != NULL; // what may block may do so without keeping the watch awake
      if (!seen.target || count == MOST) continue;
      threads[count] = thread;
      frames[count++] = seen;
   }
   bool any = running || sum != *before;
   *before = sum;
   if (!count) return any;
   nap(LOOK_NS);
   for (uint32_t i = 0; i < count; i++)
      if (same(frames[i], look(threads[i]))) examine(watch, threads[i], frames[i], since);
   return any;
}

// Has every thread's next frame wake the watch, and waits for one.
static void sleep_until_called(struct knap_watch *watch, uint64_t before) {
   atomic_store(&watch->awake, 0);
   knap_thread_t *threads = threads_of(watch->engine);
   for (knap_thread_t *thread = threads; thread; thread = thread->next) atomic_store(&thread->unwatched, true);
   // From here on a thread that begins a frame either sees the wish or has counted the frame already.
   syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
   uint64_t sum = 0;
   for (knap_thread_t *thread = threads; thread; thread = thread->next) sum += begun(thread);
   if (sum != before) atomic_store(&watch->awake, 1);
   while (!atomic_load(&watch->awake)) futex(&watch->awake, FUTEX_WAIT_PRIVATE, 0);
}

static void *run(void *context) {
   struct knap_watch *watch = context;
   uint64_t before = 0;
   int quiet = 0;
   while (!atomic_load(&watch->stopping)) {
      quiet = go_round(watch, &before) ? 0 : quiet + 1;
      if (quiet < QUIET_ROUNDS) nap(REST_NS);
      else sleep_until_called(watch, before), quiet = 0;
   }
   return NULL;
}

bool knap_engine_watch(knap_engine_t *engine, void (*held)(void *context, const knap_held_t *held), void *context) {
   struct knap_watch *watch = calloc(1, sizeof *watch);
   if (!watch) return false;
   *watch = (struct knap_watch){.engine = engine, .held = held, .context = context};
   atomic_init(&watch->awake, 1);
   syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
   atomic_store(&engine->watch, watch);
   if (!pthread_create(&watch->thread, NULL, run, watch)) return true;
   atomic_store(&engine->watch, NULL);
   free(watch);
   return false;
}

void knap_watch_stop(knap_engine_t *engine) {
   struct knap_watch *watch = atomic_load(&engine->watch);
   if (!watch) return;
   atomic_store(&watch->stopping, true);
   atomic_store(&watch->awake, 1);
   futex(&watch->awake, FUTEX_WAKE_PRIVATE, 1);
   pthread_join(watch->thread, NULL);
   free(watch);
}
