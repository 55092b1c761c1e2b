#pragma once
#include "include/knap_engine.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// The engine's own types and what its files offer each other. What every call does is in hot.h.

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
//      63 .. 32   31 .. 24   23 .. 16       15 .. 10   9 .. 0
//      serial     refs       caller users   attempt    flags
//
// A call starts with two references: the callee owes a completion, the caller an answer. A callback that runs holds
// one more, so a slot is never reused under it; `caller users` counts the callbacks to the caller, because its answer
// must come after them. Every change is one compare-and-swap that checks the serial: a stale handle changes nothing.
// `attempt` counts how often the call was taken from a callee and given to one anew: the handle that the earlier one had
// is stale then, the caller's stays.
#define WORD_DONE           (1ull << 0)  // the callee completed
#define WORD_ANSWERED       (1ull << 1)  // who delivers the caller's answer is decided
#define WORD_LISTENING      (1ull << 2)  // the callee has callbacks
#define WORD_CANCELLED      (1ull << 3)  // the callee should stop
#define WORD_CANCEL_TOLD    (1ull << 4)
#define WORD_INPUT_CLOSED   (1ull << 5)  // the caller sends no more
#define WORD_CLOSE_TOLD     (1ull << 6)
#define WORD_CALLER_WAITS   (1ull << 7)  // the caller's last send was refused for want of credit
#define WORD_CALLEE_WAITS   (1ull << 8)
#define WORD_AGAIN          (1ull << 9)  // the call may be made again: its body is kept and nothing was delivered
#define WORD_ATTEMPT        (1ull << 10)
#define WORD_ATTEMPTS       (0x3full << 10)
#define WORD_USER           (1ull << 16)
#define WORD_USERS          (0xffull << 16)
#define WORD_REF            (1ull << 24)
#define WORD_REFS           (0xffull << 24)
#define WORD_SERIAL(word)   ((uint32_t)((word) >> 32))

// A handle: serial, the caller's bit, attempt (11 bits, the callee's only), index.
#define HANDLE_CALLER       (1ull << 31)
#define HANDLE_INDEX(h)     ((uint32_t)((h) & 0xfffffull))
#define HANDLE_ATTEMPT(h)   ((uint32_t)((h) >> 20 & 0x7ff))
#define HANDLE_SERIAL(h)    ((uint32_t)((h) >> 32))
#define WORD_HANDLE(word, index) (((word) & ~0xffffffffull) | ((word) & WORD_ATTEMPTS) << 10 | (index))

#define DEADLINE_NONE 0ull
#define DEADLINE_LAZY UINT64_MAX // the default time-out applies but the clock was not read yet

// REFUSED: tell the caller. GATED: the call waits or goes elsewhere, see knap_gate_wait. WAITING: in a bulkhead's line.
typedef enum { REFUSED, ADMITTED, GATED, WAITING } knap_admission_t;

typedef struct knap_thread knap_thread_t;
typedef struct knap_slot   knap_slot_t;

struct knap_buffer {
   atomic_uint references;
   uint64_t    size;
   uint8_t     bytes[];
};

// What a party does with a new call.
enum { PARTY_CLOSED, PARTY_OPEN, PARTY_GATED };

typedef struct knap_waiting knap_waiting_t;
typedef struct knap_bulkhead knap_bulkhead_t;

// Calls that wait, in order. All lines are under the engine's line_lock: what waits is rare, and moves between lines.
typedef struct knap_line {
   knap_waiting_t *first, *last;
   uint32_t        count;
} knap_line_t;

// Gates are kept until the engine ends: a party points at the last one that closed before it.
struct knap_gate {
   knap_engine_t  *engine;
   atomic_bool     opened;
   knap_line_t     line;
   knap_gate_t    *next;
};

typedef enum { TIMER_DEADLINE, TIMER_RETRY, TIMER_PLUGIN } knap_timer_kind_t;

typedef struct knap_timer_node {
   uint64_t   when_ns;
   atomic_int place; // index in the heap + 1; 0: not there
   knap_timer_kind_t kind;
   knap_slot_t *slot; // whose deadline or retry it is; a plugin's timer has:
   void     (*fire)(void *context);
   void      *context;
   uint32_t   serial; // of the call, or of the timer
   uint32_t   index;  // in the table of timers
   knap_party_t *party;
} knap_timer_node_t;

// The parties at which the calls that a call serves hold places.
enum { KNAP_MOST_HOLDERS = 8 };
typedef struct knap_holders {
   knap_party_t *parties[KNAP_MOST_HOLDERS];
   uint32_t      count;
   bool          complete; // false: there are more
} knap_holders_t;

// So many calls that hold places at one party wait for a place at this one.
typedef struct knap_edge {
   knap_party_t *party;
   uint32_t      count;
} knap_edge_t;

// A call that waits: in the line of a bulkhead or a gate, or (without a line) for the time of its retry. It holds the
// callee's reference.
struct knap_waiting {
   knap_waiting_t  *previous, *next;
   knap_line_t     *line;
   knap_bulkhead_t *bulkhead; // whose line it is, or null
   knap_slot_t     *slot;
   knap_buffer_t   *body;
   knap_bytes_t     bytes;
   knap_timer_node_t timer;   // of a retry
   knap_party_t    *party;    // whose line it is
   knap_holders_t   holders;  // noted at the party
};

// How many calls may run at once, and those that wait for others to end. A party has one, and so has a route whose
// method has a limit of its own.
enum { ALERT_QUEUE = 1, ALERT_BREAKER = 2 };
struct knap_bulkhead {
   _Alignas(64) atomic_llong common; // places left
   // ALERT_QUEUE: calls wait in `line`. ALERT_BREAKER: the party's breaker is not closed.
   atomic_uint     alert;
   uint32_t        limit;
   knap_party_t   *party;
   knap_line_t     line;
};

// Failures within a period, in a ring of counts, and what follows from them.
enum { BREAKER_BUCKETS = 16 };
typedef struct knap_breaker {
   pthread_mutex_t lock;
   uint32_t        limit;     // 0: there is no breaker
   uint64_t        period_ns, open_ns;
   uint64_t        bucket;    // number of the newest one since the clock's beginning
   uint32_t        failures[BREAKER_BUCKETS];
   knap_breaker_state_t state;
   uint64_t        until_ns;  // when it is half-open
   uint64_t        trying;    // the one call that tries, by serial and index; 0: none does
   uint64_t        opened;
   void          (*changed)(const knap_host_t *host, knap_breaker_state_t state);
} knap_breaker_t;

// Per-thread counters of one party. The low half counts calls in flight, the high half those admitted.
typedef struct knap_cell {
   _Alignas(64) atomic_uint_fast64_t calls;
} knap_cell_t;

enum { TARGET_RETRIES = 1u << 30, TARGET_FALLBACK = 1u << 31 }; // flags of the engine's own
typedef struct knap_target {
   void (*call)(void *instance, const knap_request_t *request);
   void        *instance;
   knap_party_t *party;
   uint32_t     index;
   uint32_t     flags;
   uint64_t     timeout_ns;
   const char  *name; // the route's
   knap_route_t *route; // null: a hook's, or no call's
   knap_bulkhead_t *places; // the method's own limit, or null
   uint8_t      retries;
   bool         is_fallback;
   struct knap_target *next;
} knap_target_t;

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
   atomic_uint    share;
   atomic_uint    queue_limit;
   knap_bulkhead_t bulkhead;
   atomic_uint    queued;        // in its bulkhead's line and those of its routes; changed under the line lock
   knap_breaker_t breaker;
   atomic_int     retry_budget;  // see again.c
   atomic_uint_fast64_t failed[KNAP_FAILURES], late, misused, refused, waited, retried, retries_denied, fell_back, stood_in;
   knap_edge_t   *waits_for;     // under the line lock; see circles.c
   uint32_t       waits_for_count, mark;
   pthread_mutex_t bind_lock;
   uint32_t       bind_next;
   _Atomic(_Atomic(knap_route_t *) *) bindings[KNAP_BIND_CHUNKS];
   knap_party_t  *next;
   bool           retired;    // waits for the next generation of its name; under the engine's lock
   atomic_uint    generation; // of the plugin's code in this process; 0: none of it is here
   // What a thread runs that is in a callback of this party's, and in a hook or what the host named: see running.c.
   knap_target_t  callback, named;
   knap_cell_t    cells[KNAP_CELLS];
};

struct knap_route {
   _Atomic(const knap_target_t *) target, fallback;
   const char  *name;
   knap_target_t *targets; // all that there were
   knap_route_t *next;
   knap_bulkhead_t places[2]; // of the target and of the fallback, where they have limits of their own
};

// What is noted of a call while it runs.
typedef struct knap_marks {
   bool    placed;     // holds one of its route's places
   bool    fell_back;  // goes to the stand-in
   bool    waits;      // the caller will wait for the answer, see KNAP_OUTGOING_WAITS
   bool    accepted;   // waited once already: it may wait again, however long the line is
   uint8_t requeued;   // how often it was put back to its gate
   uint8_t retried;
} knap_marks_t;

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
   bool                 holds; // `principal`, `trace`, `origin` or `kept` is held
   knap_marks_t         marks;
   atomic_bool          had_time; // it has at least half of the method's default time-out
   atomic_uint_fast64_t        deadline_ns;
   const knap_callee_t *callee;
   void                *callee_context;
   atomic_int           credit_to_caller, credit_to_callee;
   atomic_uint_fast64_t granted; // by the caller, in all
   knap_buffer_t       *principal, *trace;
   // third line: slow calls only
   knap_timer_node_t    timer;
   struct knap_answer  *deferred;
   _Atomic(knap_waiting_t *) waiting; // where the call waits; changed under the line lock
   knap_buffer_t       *kept; // the body, for another attempt
   knap_bytes_t         kept_bytes;
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
   enum { DEFER_ANSWER, DEFER_CALL, DEFER_CREDIT_CALLER, DEFER_CREDIT_CALLEE, DEFER_TURN } kind;
   knap_answer_t *answer; // DEFER_ANSWER
   knap_buffer_t *body;   // DEFER_CALL
   knap_bulkhead_t *bulkhead; // DEFER_TURN, which has no slot
} knap_deferred_t;

// A plugin's function on a thread's stack.
typedef struct knap_frame {
   _Atomic(const knap_target_t *) target;
   atomic_uint_fast64_t number; // among all frames of the thread: never twice
} knap_frame_t;

// The function in which the watch saw a thread last. Its own alone.
typedef struct knap_seen {
   const knap_target_t *target; // null: none that is watched
   uint64_t number;             // of the frame
} knap_seen_t;
typedef struct knap_watched {
   knap_seen_t seen;
   uint64_t    since_ns, waited_ns; // the thread's wait for a processor by then
   uint32_t    generation; // of the party, which may be another generation's when this is told
   int         told;                // knap_held_stage_t; 0: nothing
} knap_watched_t;

// What a thread runs for whom is written by it alone. The black box reads it when the thread crashes, the watch
// (running.c) while it runs.
enum { FRAME_COUNT = 1 << 16, KNAP_FRAMES = 32 }; // deeper than KNAP_MAX_DEPTH, since what runs for want of memory to put it off goes past it
struct knap_thread {
   uint32_t        cell;
   int32_t         id; // gettid(2)
   atomic_uint_fast64_t frames; // how many are on the stack (the low 16 bits), and how many there were so far
   atomic_bool     unwatched; // the watch sleeps and wants to be woken by the next frame
   const char     *what; // of the innermost frame with a `named` target
   knap_slot_t    *free;
   _Atomic(knap_slot_t *) returned; // freed by other threads
   knap_deferred_t *first, *last;
   knap_engine_t  *engine;
   knap_bulkhead_t *turning; // whose line it is letting go on
   bool            used;
   knap_thread_t  *next;
   knap_frame_t    stack[KNAP_FRAMES];
   knap_watched_t  watched;
};

typedef struct knap_hook_list {
   uint32_t count;
   bool     observes;
   struct knap_hook_list *next; // retired lists, freed with the engine
   char *closed;                // why nothing from outside gets in; null: it does
   const knap_party_t *open;    // but to this one
   knap_hooked_t  hooks[];
} knap_hook_list_t;

typedef struct knap_job {
   struct knap_job *next;
   knap_slot_t     *slot; // holds a reference
   knap_buffer_t   *body;
   knap_bytes_t     bytes;
   bool             proceeds; // begins with admission, and the reference is the callee's
} knap_job_t;

struct knap_engine {
   _Atomic(knap_hook_list_t *) hooks;
   knap_hook_list_t *retired_hooks;
   _Atomic(knap_slot_t *) chunks[KNAP_MAX_CHUNKS];
   pthread_mutex_t lock; // chunks, parties, routes, threads, targets
   uint32_t        chunk_count;
   knap_party_t   *parties;
   knap_route_t   *routes;
   knap_gate_t    *gates;
   knap_thread_t  *threads;
   uint32_t        thread_count;

   pthread_mutex_t line_lock; // every line, and who waits for whom
   uint32_t        marks;
   atomic_uint_fast64_t random;

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

   _Atomic(struct knap_watch *) watch; // null: nobody watches
   atomic_uint_fast64_t hang_ns;       // 0: the default
};

