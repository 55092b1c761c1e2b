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

enum { LOOK_NS = 1000000, REST_NS = 20000000, QUIET_ROUNDS = 50, STACK_SIZE = 512 << 10 };
#define HANG_NS 10000000000ull

struct knap_watch {
   knap_engine_t *engine;
   void         (*held)(void *context, const knap_held_t *held);
   void          *context;
   pthread_t      thread;
   atomic_int     awake; // a futex: 0 while the thread sleeps for want of calls
   atomic_bool    stopping;
};

static void futex(atomic_int *word, int operation, int value, const struct timespec *limit) {
   syscall(SYS_futex, word, operation, value, limit, NULL, 0);
}

static void nap(uint64_t ns) { nanosleep(&(struct timespec){0, (long)ns}, NULL); }

void knap_watch_wake(knap_thread_t *self) {
   struct knap_watch *watch = atomic_load(&self->engine->watch);
   atomic_store_explicit(&self->unwatched, false, memory_order_relaxed);
   if (!watch || atomic_exchange(&watch->awake, 1)) return;
   futex(&watch->awake, FUTEX_WAKE_PRIVATE, 1, NULL);
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

// What one thread runs at one moment: only code in this process counts.
static knap_seen_t look(const knap_thread_t *thread) {
   uint64_t frames = atomic_load(&thread->frames);
   if (!(uint16_t)frames) return (knap_seen_t){NULL, 0};
   const knap_frame_t *frame = &thread->stack[((uint16_t)frames - 1) % KNAP_FRAMES];
   knap_seen_t seen = {atomic_load(&frame->target), atomic_load(&frame->number)};
   if (atomic_load(&thread->frames) != frames || !is_plugins(seen.target)) seen.target = NULL;
   return seen;
}

static bool same(knap_seen_t a, knap_seen_t b) { return a.target && a.target == b.target && a.number == b.number; }
static bool may_block(const knap_target_t *target) { return target->flags & KNAP_ROUTE_BLOCKING; }

// Threads' records are never freed while the engine lives, and new ones come first, so a list once read stays good.
static knap_thread_t *threads_of(knap_engine_t *engine) {
   pthread_mutex_lock(&engine->lock);
   knap_thread_t *first = engine->threads;
   pthread_mutex_unlock(&engine->lock);
   return first;
}

static void tell(struct knap_watch *watch, knap_watched_t *watched, knap_held_stage_t stage, uint64_t lasted_ns) {
   const knap_target_t *target = watched->seen.target;
   watched->told = stage;
   knap_running_t running = describe(target, target->name);
   running.generation = watched->generation;
   watch->held(watch->context, &(knap_held_t){running, lasted_ns, stage});
}

// When what is watched hangs; UINT64_MAX: never, as what may block and has no deadline.
static uint64_t hangs_at(const struct knap_watch *watch, const knap_watched_t *watched) {
   uint64_t hang = atomic_load_explicit(&watch->engine->hang_ns, memory_order_relaxed);
   uint64_t at = watched->since_ns + (hang ? hang : HANG_NS);
   if (!may_block(watched->seen.target)) return at;
   return watched->seen.target->timeout_ns ? at + watched->seen.target->timeout_ns : UINT64_MAX;
}

// Notes what a thread runs now, and tells what follows from it. True: it must be looked at again in a moment.
static bool note(struct knap_watch *watch, knap_thread_t *thread, uint64_t now) {
   knap_watched_t *watched = &thread->watched;
   knap_seen_t seen = look(thread);
   if (same(seen, watched->seen)) {
      if (watched->told != KNAP_HELD_HANGS && now >= hangs_at(watch, watched)) {
         uint64_t idle = watched->told ? waited_ns(thread->id) - watched->waited_ns : 0;
         if (now - idle >= hangs_at(watch, watched)) tell(watch, watched, KNAP_HELD_HANGS, now - watched->since_ns);
      }
   } else {
      if (watched->told) tell(watch, watched, KNAP_HELD_RETURNED, now - watched->since_ns);
      *watched = (knap_watched_t){.seen = seen, .since_ns = now, .generation = seen.target ? seen.target->party->generation : 0};
   }
   return seen.target && !may_block(seen.target) && !watched->told;
}

// A function that was there a moment ago is looked at for another one, less the time in which its thread had no processor.
static void examine(struct knap_watch *watch, knap_thread_t *thread) {
   knap_watched_t *watched = &thread->watched;
   uint64_t waited = waited_ns(thread->id), began = knap_now_ns();
   nap(LOOK_NS);
   uint64_t now = knap_now_ns(), idle = waited_ns(thread->id) - waited;
   if (!same(watched->seen, look(thread)) || now - began < idle + LOOK_NS * 3 / 4) return;
   watched->waited_ns = waited;
   tell(watch, watched, KNAP_HELD_LONG, now - watched->since_ns);
}

static uint64_t begun(const knap_thread_t *thread) { return atomic_load(&thread->frames) / FRAME_COUNT; }

// One look at all threads and another after a moment. False: nothing was called since `before`, and nothing runs that is
// not known to.
static bool go_round(struct knap_watch *watch, uint64_t *before) {
   enum { MOST = 256 };
   knap_thread_t *threads[MOST];
   uint32_t count = 0;
   uint64_t sum = 0, now = knap_now_ns();
   bool running = false;
   for (knap_thread_t *thread = threads_of(watch->engine); thread; thread = thread->next) {
      sum += begun(thread);
      bool fresh = note(watch, thread, now);
      const knap_watched_t *watched = &thread->watched;
      // What may block may do so without keeping the watch awake, and so may what hangs.
      running |= watched->seen.target && !may_block(watched->seen.target) && watched->told != KNAP_HELD_HANGS;
      if (fresh && count < MOST) threads[count++] = thread;
   }
   bool any = running || sum != *before;
   *before = sum;
   if (!count) return any;
   nap(LOOK_NS);
   for (uint32_t i = 0; i < count; i++)
      if (same(threads[i]->watched.seen, look(threads[i]))) examine(watch, threads[i]);
   return any;
}

// How long until something that may block hangs.
static uint64_t time_left(const struct knap_watch *watch, knap_thread_t *threads) {
   uint64_t first = UINT64_MAX, now = knap_now_ns();
   for (knap_thread_t *thread = threads; thread; thread = thread->next) {
      if (!thread->watched.seen.target || thread->watched.told == KNAP_HELD_HANGS) continue;
      uint64_t at = hangs_at(watch, &thread->watched);
      if (at < first) first = at;
   }
   return first == UINT64_MAX ? first : first > now ? first - now : 1;
}

// Has every thread's next frame wake the watch, and waits for one, or until there is something to tell.
static void sleep_until_called(struct knap_watch *watch, uint64_t before) {
   atomic_store(&watch->awake, 0);
   knap_thread_t *threads = threads_of(watch->engine);
   for (knap_thread_t *thread = threads; thread; thread = thread->next) atomic_store(&thread->unwatched, true);
   // From here on a thread that begins a frame either sees the wish or has counted the frame already.
   syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
   uint64_t sum = 0;
   for (knap_thread_t *thread = threads; thread; thread = thread->next) sum += begun(thread);
   if (sum != before) atomic_store(&watch->awake, 1);
   uint64_t left = time_left(watch, threads);
   struct timespec limit = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
   do futex(&watch->awake, FUTEX_WAIT_PRIVATE, 0, left == UINT64_MAX ? NULL : &limit);
   while (!atomic_load(&watch->awake) && left == UINT64_MAX);
   atomic_store(&watch->awake, 1);
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

// Once there are other threads this takes the kernel many milliseconds: it waits until every processor has noticed.
void knap_watch_prepare(void) { syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0); }

bool knap_engine_watch(knap_engine_t *engine, void (*held)(void *context, const knap_held_t *held), void *context) {
   struct knap_watch *watch = calloc(1, sizeof *watch);
   if (!watch) return false;
   *watch = (struct knap_watch){.engine = engine, .held = held, .context = context};
   atomic_init(&watch->awake, 1);
   atomic_store(&engine->watch, watch);
   pthread_attr_t attributes;
   pthread_attr_init(&attributes);
   pthread_attr_setstacksize(&attributes, STACK_SIZE); // counts as memory of a worker
   int failed = pthread_create(&watch->thread, &attributes, run, watch);
   pthread_attr_destroy(&attributes);
   if (!failed) return true;
   atomic_store(&engine->watch, NULL);
   free(watch);
   return false;
}

void knap_engine_watchdog(knap_engine_t *engine, uint64_t hang_ns) { atomic_store(&engine->hang_ns, hang_ns); }

void knap_watch_stop(knap_engine_t *engine) {
   struct knap_watch *watch = atomic_load(&engine->watch);
   if (!watch) return;
   atomic_store(&watch->stopping, true);
   atomic_store(&watch->awake, 1);
   futex(&watch->awake, FUTEX_WAKE_PRIVATE, 1, NULL);
   pthread_join(watch->thread, NULL);
   free(watch);
}
