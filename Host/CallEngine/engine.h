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

typedef struct knap_thread knap_thread_t;
typedef struct knap_slot   knap_slot_t;

struct knap_buffer {
   atomic_uint references;
   uint64_t    size;
   uint8_t     bytes[];
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
   _Alignas(64) atomic_ullong calls;
} knap_cell_t;

struct knap_party {
   knap_host_t    host; // first: a host pointer is its party's address
   knap_engine_t *engine;
   char          *name;
   void          *context;
   const void  *(*extension)(const knap_host_t *host, const char *id);
   atomic_int     open;
   int32_t        assert_principal;
   knap_buffer_t *principal; // "plugin:NAME"
   // Bulkhead: each cell may hold `share` calls without asking; what is more comes from the common pool.
   uint32_t       limit, share;
   uint32_t       breaker_limit;
   uint64_t       breaker_open_ns;
   _Alignas(64) atomic_int breaker_failures;
   atomic_ullong  breaker_until; // 0: closed
   atomic_llong   common;        // permits left in the common pool
   atomic_ullong  failed[4], late, misused, refused;
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
   struct knap_target *next;
} knap_target_t;

struct knap_route {
   _Atomic(const knap_target_t *) target;
   const char  *name;
   knap_route_t *next;
};

struct knap_slot {
   _Alignas(64) atomic_ullong word;
   const knap_target_t *target;
   const knap_caller_t *caller;
   void                *caller_context;
   knap_party_t        *caller_party;
   knap_cell_t         *cell;   // whose permit this call holds; null: the common pool's
   knap_thread_t       *owner;  // whose free list the slot returns to
   knap_slot_t         *next;
   // second line
   uint32_t             index;
   bool                 observed;
   bool                 traced; // `principal` or `trace` is held
   atomic_ullong        deadline_ns;
   const knap_callee_t *callee;
   void                *callee_context;
   atomic_int           credit_to_caller, credit_to_callee;
   knap_buffer_t       *principal, *trace;
   // third line: slow calls only
   knap_timer_node_t    timer;
   struct knap_answer  *deferred;
   knap_call_t          parent;
   uint64_t             start_ns;
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
   uint32_t        depth;
   knap_slot_t    *free;
   _Atomic(knap_slot_t *) returned; // freed by other threads
   knap_deferred_t *first, *last;
   knap_engine_t  *engine;
   bool            used;
   knap_thread_t  *next;
};

typedef struct knap_hook_list {
   uint32_t count;
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
knap_thread_t *knap_thread_self(knap_engine_t *engine);
void knap_threads_retire(knap_engine_t *engine);
knap_slot_t *knap_slot_take(knap_thread_t *self);
void knap_slot_free(knap_slot_t *slot, uint64_t word);
knap_slot_t *knap_slot_of(knap_engine_t *engine, knap_call_t call);
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
uint64_t knap_deadline(knap_slot_t *slot);
knap_status_t knap_complete(const knap_host_t *, knap_call_t, const knap_result_t *);
knap_status_t knap_cancel(const knap_host_t *, knap_call_t);
knap_status_t knap_info(const knap_host_t *, knap_call_t, knap_call_info_t *);
void knap_tell_cancel(knap_slot_t *slot, uint32_t serial, knap_status_t reason);

// frames.c
void knap_frame_enter(knap_thread_t *self);
void knap_frame_leave(knap_thread_t *self);
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

// buffers.c
extern const knap_buffers_t knap_buffers;
knap_buffer_t *knap_buffer_make(uint64_t size);
knap_buffer_t *knap_buffer_copy(const void *bytes, uint64_t size);
knap_buffer_t *knap_buffer_share(knap_buffer_t *buffer);
void knap_buffer_drop(knap_buffer_t *buffer);

// policy.c
bool knap_admit(knap_party_t *party, knap_thread_t *self, knap_cell_t **cell, knap_result_t *refusal);
void knap_dismiss(knap_party_t *party, knap_cell_t *cell);
void knap_account(knap_party_t *party, knap_status_t status);
knap_status_t knap_intercept(const knap_hook_list_t *hooks, const knap_slot_t *slot, knap_bytes_t body,
                             knap_result_t *refusal);
void knap_observe_begin(const knap_hook_list_t *hooks, knap_slot_t *slot, knap_call_t call);
void knap_observe_end(knap_slot_t *slot, knap_call_t call, knap_status_t status);
