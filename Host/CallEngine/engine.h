#pragma once
#include "include/knap_engine.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// The engine's own types. One file for each: slots.c, calls.c, streams.c, timers.c, pool.c, parties.c, buffers.c.

enum {
   KNAP_CELLS        = 64,   // counters of a party are spread over this many cache lines
   KNAP_MAX_DEPTH    = 16,   // plugin frames on one stack
   KNAP_CHUNK_SLOTS  = 256,
   KNAP_MAX_CHUNKS   = 4096, // about a million calls in flight
   KNAP_BIND_CHUNK   = 256,
   KNAP_BIND_CHUNKS  = 256,
};

// ## A slot's word
//
//      63 .. 32   31 .. 24   23 .. 16       15 .. 0
//      serial     refs       caller users   flags
//
// A call starts with two references: the callee owes a completion, the caller an answer. A callback that runs holds
// one more, so a slot is never reused under it; `caller users` counts the callbacks to the caller, because its answer
// must come after them. Every change is one compare-and-swap that checks the serial: a stale handle changes nothing.
#define WORD_DONE           (1ull << 0)  // the callee completed
#define WORD_ANSWERED       (1ull << 1)  // who delivers the caller's answer is decided
#define WORD_LISTENING      (1ull << 2)  // the callee has callbacks
#define WORD_CANCELLED      (1ull << 3)  // the callee should stop
#define WORD_CANCEL_TOLD    (1ull << 4)
#define WORD_INPUT_CLOSED   (1ull << 5)  // the caller sends no more
#define WORD_CLOSE_TOLD     (1ull << 6)
#define WORD_CALLER_WAITS   (1ull << 7)  // the caller's last send was refused for want of credit
#define WORD_CALLEE_WAITS   (1ull << 8)
#define WORD_USER           (1ull << 16)
#define WORD_USERS          (0xffull << 16)
#define WORD_REF            (1ull << 24)
#define WORD_REFS           (0xffull << 24)
#define WORD_SERIAL(word)   ((uint32_t)((word) >> 32))

// A handle: serial, the caller's bit, index.
#define HANDLE_CALLER       (1ull << 31)
#define HANDLE_INDEX(h)     ((uint32_t)((h) & 0x7fffffffull))
#define HANDLE_SERIAL(h)    ((uint32_t)((h) >> 32))

#define DEADLINE_NONE 0ull
#define DEADLINE_LAZY UINT64_MAX // the default time-out applies but the clock was not read yet

// REFUSED: tell the caller. GATED: the call waits or goes elsewhere, see knap_gate_wait.
typedef enum { REFUSED, ADMITTED, GATED } knap_admission_t;

typedef struct knap_thread knap_thread_t;
typedef struct knap_slot   knap_slot_t;

struct knap_buffer {
   atomic_uint references;
   uint64_t    size;
   uint8_t     bytes[];
};

// What a party does with a new call.
enum { PARTY_CLOSED, PARTY_OPEN, PARTY_GATED };

// A call that waits at a gate. It holds the callee's reference.
typedef struct knap_waiting {
   struct knap_waiting *next;
   knap_slot_t   *slot;
   knap_buffer_t *body;
   knap_bytes_t   bytes;
} knap_waiting_t;

// Gates are kept until the engine ends: a party points at the last one that closed before it.
struct knap_gate {
   knap_engine_t  *engine;
   pthread_mutex_t lock;
   bool            opened;
   uint32_t        count;
   knap_waiting_t *first, *last;
   knap_gate_t    *next;
};

typedef struct knap_timer_node {
   uint64_t   when_ns;
   atomic_int place; // index in the heap + 1; 0: not there
   knap_slot_t *slot; // a call's deadline, or null for a timer:
   void     (*fire)(void *context);
   void      *context;
   uint32_t   serial; // of the call, or of the timer
   uint32_t   index;  // in the table of timers
   knap_party_t *party;
} knap_timer_node_t;

// Per-thread counters of one party. The low half counts calls in flight, the high half those admitted.
typedef struct knap_cell {
   _Alignas(64) atomic_uint_fast64_t calls;
} knap_cell_t;

struct knap_party {
   knap_host_t    host; // first: a host pointer is its party's address
   knap_engine_t *engine;
   char          *name;
   uint64_t       name_size;
   void          *context;
   const void  *(*extension)(const knap_host_t *host, const char *id);
   atomic_int     open; // PARTY_...
   _Atomic(knap_gate_t *) gate; // the last one that closed before this party
   int32_t        assert_principal;
   knap_buffer_t *principal; // "plugin:NAME"
   // Bulkhead: each cell may hold `share` calls without asking; what is more comes from the common pool.
   uint32_t       limit, share;
   uint32_t       breaker_limit;
   uint64_t       breaker_open_ns;
   _Alignas(64) atomic_int breaker_failures;
   atomic_uint_fast64_t  breaker_until; // 0: closed
   atomic_llong   common;        // permits left in the common pool
   atomic_uint_fast64_t  failed[4], late, misused, refused;
   pthread_mutex_t bind_lock;
   uint32_t       bind_next;
   _Atomic(_Atomic(knap_route_t *) *) bindings[KNAP_BIND_CHUNKS];
   knap_party_t  *next;
   knap_cell_t    cells[KNAP_CELLS];
};

typedef struct knap_target {
   void (*call)(void *instance, const knap_request_t *request);
   void        *instance;
   knap_party_t *party;
   uint32_t     index;
   uint32_t     flags;
   uint64_t     timeout_ns;
   const char  *name; // the route's
   knap_route_t *route; // null: a hook's
   struct knap_target *next;
} knap_target_t;

struct knap_route {
   _Atomic(const knap_target_t *) target;
   const char  *name;
   knap_route_t *next;
};

struct knap_slot {
   _Alignas(64) atomic_uint_fast64_t word;
   _Atomic(const knap_target_t *) target; // changes only while the call waits at a gate
   const knap_caller_t *caller;
   void                *caller_context;
   knap_party_t        *caller_party;
   knap_cell_t         *cell;   // whose permit this call holds; null: the common pool's
   knap_thread_t       *owner;  // whose free list the slot returns to
   knap_slot_t         *next;
   // second line
   uint32_t             index;
   bool                 observed;
   bool                 traced; // `principal`, `trace` or `origin` is held
   uint8_t              attempts; // how often the call was taken back although it may have run
   atomic_bool          waits;    // at a gate
   atomic_uint_fast64_t        deadline_ns;
   const knap_callee_t *callee;
   void                *callee_context;
   atomic_int           credit_to_caller, credit_to_callee;
   knap_buffer_t       *principal, *trace;
   // third line: slow calls only
   knap_timer_node_t    timer;
   struct knap_answer  *deferred;
   knap_call_t          parent;
   uint64_t             start_ns;
   knap_buffer_t       *origin; // the caller's name, where another process told it
   knap_target_t        hook; // the target of a hook's call
};

// A result that outlives its sender's frame.
typedef struct knap_answer {
   knap_result_t result;
   knap_buffer_t *body, *content_type, *message;
} knap_answer_t;

// Work put off because the stack was too deep. Runs when the thread leaves its outermost engine frame.
typedef struct knap_deferred {
   struct knap_deferred *next;
   knap_slot_t   *slot;   // holds a reference
   enum { DEFER_ANSWER, DEFER_CALL, DEFER_CREDIT_CALLER, DEFER_CREDIT_CALLEE } kind;
   knap_answer_t *answer; // DEFER_ANSWER
   knap_buffer_t *body;   // DEFER_CALL
} knap_deferred_t;

struct knap_thread {
   uint32_t        cell;
   _Atomic uint32_t depth; // written by the thread alone
   knap_slot_t    *free;
   _Atomic(knap_slot_t *) returned; // freed by other threads
   knap_deferred_t *first, *last;
   knap_engine_t  *engine;
   bool            used;
   knap_thread_t  *next;
};

typedef struct knap_hook_list {
   uint32_t count;
   bool     observes;
   struct knap_hook_list *next; // retired lists, freed with the engine
   knap_hooked_t  hooks[];
} knap_hook_list_t;

typedef struct knap_job {
   struct knap_job *next;
   knap_slot_t     *slot; // holds a reference
   knap_buffer_t   *body;
   knap_bytes_t     bytes;
} knap_job_t;

struct knap_engine {
   _Atomic(knap_hook_list_t *) hooks;
   knap_hook_list_t *retired_hooks;
   _Atomic(knap_slot_t *) chunks[KNAP_MAX_CHUNKS];
   pthread_mutex_t lock; // chunks, parties, routes, threads, targets
   uint32_t        chunk_count;
   knap_party_t   *parties;
   knap_route_t   *routes;
   knap_target_t  *targets;
   knap_gate_t    *gates;
   knap_thread_t  *threads;
   uint32_t        thread_count;

   pthread_mutex_t timer_lock;
   pthread_cond_t  timer_changed;
   knap_timer_node_t **heap;   // a binary heap by time
   uint32_t        heap_count, heap_capacity;
   knap_timer_node_t **timers; // by handle; a free place holds null
   uint32_t        timer_count, timer_serial;
   pthread_t       timer_thread;
   bool            timer_started, timers_stopping;

   pthread_mutex_t pool_lock;
   pthread_cond_t  pool_work, pool_ended;
   knap_job_t     *jobs, *jobs_last;
   uint32_t        pool_threads, pool_idle, pool_queued, pool_limit, pool_idle_ms;
   bool            pool_stopping;
};

// slots.c
knap_thread_t *knap_thread_begins(knap_engine_t *engine);
knap_slot_t *knap_slot_refill(knap_thread_t *self);
void knap_slot_clean(knap_slot_t *slot, uint64_t word);
void knap_slot_return(knap_slot_t *slot);
void knap_threads_retire(knap_engine_t *engine);
bool knap_slot_change(knap_slot_t *slot, uint32_t serial, uint64_t must, uint64_t must_not, uint64_t set, uint64_t add,
                      uint64_t *before);
void knap_slot_release(knap_slot_t *slot);
bool knap_enter_caller(knap_slot_t *slot, uint32_t serial);
void knap_leave_caller(knap_slot_t *slot);
bool knap_enter_callee(knap_slot_t *slot, uint32_t serial);

// calls.c
knap_call_t knap_callee_handle(const knap_slot_t *slot, uint64_t word);
knap_call_t knap_caller_handle(const knap_slot_t *slot, uint64_t word);
void knap_deliver(knap_slot_t *slot, const knap_result_t *result);
void knap_give_up(knap_slot_t *slot, uint32_t serial, knap_status_t reason, const char *message);
void knap_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
void knap_proceed(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
void knap_turn_away(knap_slot_t *slot, knap_status_t status, const char *message);
uint64_t knap_deadline(knap_slot_t *slot);
knap_status_t knap_complete(const knap_host_t *, knap_call_t, const knap_result_t *);
knap_status_t knap_cancel(const knap_host_t *, knap_call_t);
knap_status_t knap_info(const knap_host_t *, knap_call_t, knap_call_info_t *);
void knap_tell_cancel(knap_slot_t *slot, uint32_t serial, knap_status_t reason);

// frames.c
void knap_frames_drain(knap_thread_t *self);
void knap_defer(knap_thread_t *self, knap_deferred_t work);
knap_answer_t *knap_answer_copy(const knap_result_t *result);
void knap_answer_free(knap_answer_t *answer);

// streams.c
knap_status_t knap_listen(const knap_host_t *, knap_call_t, const knap_callee_t *, void *context);
knap_status_t knap_send(const knap_host_t *, knap_call_t, const knap_item_t *);
knap_status_t knap_half_close(const knap_host_t *, knap_call_t);
knap_status_t knap_grant(const knap_host_t *, knap_call_t, uint32_t items);
void knap_tell_credit(knap_slot_t *slot, uint32_t serial, bool caller);

// timers.c
void knap_timer_arm(knap_slot_t *slot, uint32_t serial);
void knap_timer_disarm(knap_slot_t *slot);
void knap_timers_stop(knap_engine_t *engine);

// pool.c
bool knap_pool_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
void knap_pool_stop(knap_engine_t *engine);

// gates.c
knap_admission_t knap_admit_gated(knap_party_t *party, knap_cell_t *holder, const knap_slot_t *slot,
                                  knap_result_t *refusal);
// MOVED: the gate is open again, so somebody may serve the route.
typedef enum { WAITS, MOVED, FULL } knap_gating_t;
void knap_gates_free(knap_engine_t *engine);
knap_gating_t knap_gate_wait(knap_party_t *party, knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);

// buffers.c
extern const knap_buffers_t knap_buffers;
knap_buffer_t *knap_buffer_make(uint64_t size);
knap_buffer_t *knap_buffer_copy(const void *bytes, uint64_t size);
knap_buffer_t *knap_buffer_share(knap_buffer_t *buffer);
void knap_buffer_drop(knap_buffer_t *buffer);

// policy.c
bool knap_breaker_passes(knap_party_t *party);
knap_admission_t knap_refuse(knap_party_t *party, knap_result_t *refusal, knap_status_t status, const char *message);
void knap_account_failure(knap_party_t *party, knap_status_t status);
knap_status_t knap_intercept(const knap_hook_list_t *hooks, const knap_slot_t *slot, knap_bytes_t body,
                             knap_result_t *refusal);
void knap_observe_begin(const knap_hook_list_t *hooks, knap_slot_t *slot, knap_call_t call);
void knap_observe_end(knap_slot_t *slot, knap_call_t call, knap_status_t status);

// ## The hot path
// What every call does, in line: a call that is answered inline costs three locked operations and no other function
// of the engine's (Tests/Benchmarks).

// The engine is in the executable, so its thread-local needs no look-up.
extern _Thread_local knap_thread_t *knap_current __attribute__((tls_model("initial-exec")));

static inline knap_thread_t *knap_thread_self(knap_engine_t *engine) {
   knap_thread_t *self = knap_current;
   return __builtin_expect(self && self->engine == engine, 1) ? self : knap_thread_begins(engine);
}

static inline uint32_t knap_depth(const knap_thread_t *self) {
   return atomic_load_explicit(&self->depth, memory_order_relaxed);
}

static inline void knap_frame_enter(knap_thread_t *self) {
   atomic_store_explicit(&self->depth, knap_depth(self) + 1, memory_order_relaxed);
}

static inline void knap_frame_leave(knap_thread_t *self) {
   if (__builtin_expect(self->first != NULL, 0) && knap_depth(self) == 1) knap_frames_drain(self);
   atomic_store_explicit(&self->depth, knap_depth(self) - 1, memory_order_release);
}

static inline knap_slot_t *knap_slot_take(knap_thread_t *self) {
   knap_slot_t *slot = self->free ? self->free : knap_slot_refill(self);
   if (slot) self->free = slot->next;
   return slot;
}

// The last reference is gone: nothing reaches the slot under this serial any more.
static inline void knap_slot_free(knap_slot_t *slot, uint64_t word) {
   if (__builtin_expect((word & WORD_LISTENING) || slot->traced
                        || atomic_load_explicit(&slot->timer.place, memory_order_seq_cst), 0))
      knap_slot_clean(slot, word);
   uint64_t serial = (word >> 32) + 1;
   if (serial > UINT32_MAX) serial = 1; // 0 would make handle 0 of slot 0
   atomic_store_explicit(&slot->word, serial << 32, memory_order_release);
   if (__builtin_expect(slot->owner != knap_current, 0)) {
      knap_slot_return(slot);
      return;
   }
   slot->next = slot->owner->free;
   slot->owner->free = slot;
}

static inline knap_slot_t *knap_slot_of(knap_engine_t *engine, knap_call_t call) {
   uint32_t index = HANDLE_INDEX(call);
   if (index / KNAP_CHUNK_SLOTS >= KNAP_MAX_CHUNKS) return NULL;
   knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[index / KNAP_CHUNK_SLOTS], memory_order_acquire);
   return chunk ? &chunk[index % KNAP_CHUNK_SLOTS] : NULL;
}

static inline void knap_dismiss(knap_party_t *party, knap_cell_t *cell) {
   if (cell) atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_release);
   else atomic_fetch_add_explicit(&party->common, 1, memory_order_release);
}

// A cell's count is a locked operation, so whoever closes the party and then sees no call in flight can rely on it.
static inline knap_admission_t knap_admit(knap_party_t *party, knap_thread_t *self, const knap_slot_t *slot,
                                          knap_cell_t **holder, knap_result_t *refusal) {
   if (__builtin_expect(atomic_load_explicit(&party->breaker_until, memory_order_relaxed) != 0, 0)
       && !knap_breaker_passes(party))
      return knap_refuse(party, refusal, KNAP_UNAVAILABLE,
                         "the plugin failed too often and its circuit breaker is open; try again later");
   knap_cell_t *cell = &party->cells[self->cell];
   uint64_t before = atomic_fetch_add_explicit(&cell->calls, (1ull << 32) | 1, memory_order_seq_cst);
   *holder = cell;
   if (__builtin_expect((uint32_t)before >= party->share, 0)) {
      atomic_fetch_sub_explicit(&cell->calls, 1, memory_order_relaxed);
      *holder = NULL;
      if (atomic_fetch_sub_explicit(&party->common, 1, memory_order_seq_cst) <= 0) {
         atomic_fetch_add_explicit(&party->common, 1, memory_order_relaxed);
         return knap_refuse(party, refusal, KNAP_RESOURCE_EXHAUSTED,
                            "the plugin already serves as many calls as its bulkhead allows; try again later");
      }
   }
   if (__builtin_expect(atomic_load_explicit(&party->open, memory_order_seq_cst) != PARTY_OPEN, 0))
      return knap_admit_gated(party, *holder, slot, refusal);
   return ADMITTED;
}

// Who calls, for the callee to see.
static inline knap_text_t knap_caller_name(const knap_slot_t *slot) {
   if (slot->origin) return (knap_text_t){(const char *)slot->origin->bytes, slot->origin->size};
   return (knap_text_t){slot->caller_party->name, slot->caller_party->name_size};
}

static inline void knap_account(knap_party_t *party, knap_status_t status) {
   if (__builtin_expect(status != KNAP_OK, 0)) {
      knap_account_failure(party, status);
   } else if (__builtin_expect(atomic_load_explicit(&party->breaker_failures, memory_order_relaxed) != 0, 0)) {
      atomic_store_explicit(&party->breaker_failures, 0, memory_order_relaxed);
      atomic_store_explicit(&party->breaker_until, 0, memory_order_relaxed);
   }
}
