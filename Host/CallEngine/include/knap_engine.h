#pragma once
#include <knap/knap.h>
#include <stdbool.h>

// # The call engine
//
// Carries every call of a process: slots and handles, credit, cancellation, deadlines, bulkhead and circuit breaker,
// observation and interception, and the threads for methods that block. It is C because both the host and, later, a
// worker process run it, and because an empty call may cost no more than a few nanoseconds (Tests/Benchmarks).
//
// It knows parties (who calls and is called), routes (a method's name and who serves it now) and bindings (a party's
// right to call a route). Policy (who may bind what, who provides a route) is the host's, in Swift.
//
// All functions are safe on any thread unless they say otherwise.

typedef struct knap_engine knap_engine_t;
typedef struct knap_party  knap_party_t;
typedef struct knap_route  knap_route_t;

typedef struct knap_engine_config {
   uint32_t pool_threads;      // most threads for blocking methods; 0: 64
   uint32_t pool_idle_ms;      // after which an idle one ends; 0: 10,000
   uint64_t seed;              // of the jitter between retries; 0: a different one each time
} knap_engine_config_t;

// A circuit breaker lets calls through while it is closed and refuses them while it is open. When its time is over it is
// half-open: one call tries, and its end closes it or opens it again.
typedef enum { KNAP_BREAKER_CLOSED, KNAP_BREAKER_OPEN, KNAP_BREAKER_HALF_OPEN } knap_breaker_state_t;

typedef struct knap_party_config {
   const char *name;           // copied
   // The host's extensions, handed out by `knap_host_t.extension`.
   const void *(*extension)(const knap_host_t *host, const char *id);
   void       *context;        // the host's own, see knap_party_context
   uint32_t    in_flight;      // bulkhead: calls served at once; 0: 4,096
   uint32_t    breaker_failures; // failures within `breaker_period_ns` that open the breaker; 0: never
   uint64_t    breaker_open_ns;  // how long it stays open before one call may try
   int32_t     assert_principal; // may name a principal on calls without a parent
   uint32_t    queue;            // calls that may wait for one of those places, in order
   uint64_t    breaker_period_ns; // 0: 60 s
   // Called once for each change to open and to closed, on the thread whose call brought it about, with no lock held.
   // May be null.
   void      (*breaker_changed)(const knap_host_t *host, knap_breaker_state_t state);
   uint32_t    generation;     // of the plugin whose code is in this process; 0: none of its code is
} knap_party_config_t;

enum {
   KNAP_ROUTE_BLOCKING   = 1u << 0,
   KNAP_ROUTE_IDEMPOTENT = 1u << 1, // a call that may have run can be run again
};

// Who serves a route. `method.call` is run with `instance`; `index` is passed in the request.
typedef struct knap_provision {
   knap_party_t        *party;
   const knap_method_t *method;
   void                *instance;
   uint32_t             index;
   uint32_t             flags;
   uint64_t             timeout_ns; // default deadline; 0: none
   uint32_t             retries;    // how often a call that failed with UNAVAILABLE is tried again; of idempotent methods
   uint32_t             concurrency; // calls of the method served at once; 0: as many as the party serves
} knap_provision_t;

// Whose business a failure is. KNAP_FAILURE_NONE is no failure.
typedef enum {
   KNAP_FAILURE_NONE,
   KNAP_FAILURE_CALLER,    // what was asked is wrong: another call with the same input fails the same way
   KNAP_FAILURE_TRANSIENT, // the same call may succeed a moment later
   KNAP_FAILURE_PERMANENT, // nobody can serve it before something is changed
   KNAP_FAILURE_PLUGIN,    // the plugin went wrong
   KNAP_FAILURE_OVERLOAD,  // too much at once: later, and less
   KNAP_FAILURES
} knap_failure_t;
// The one place that decides it. `by_host`: the host itself answered, instead of the plugin.
knap_failure_t knap_failure_of(knap_status_t status, bool by_host);
const char *knap_failure_name(knap_failure_t failure); // "caller", "transient", ...

typedef struct knap_party_counts {
   uint64_t entered;    // calls that were admitted
   uint64_t in_flight;  // calls that have not completed
   uint64_t failed_caller, failed_transient, failed_overload, failed_plugin; // answers of failure, the host's included
   uint64_t late;       // results that came after the caller had its answer
   uint64_t misused;    // completions of calls that had already completed, and stale handles
   uint64_t refused;    // calls not admitted: bulkhead, breaker, interceptor, closed
   int32_t  breaker_open;
   uint64_t failed_permanent;
   uint64_t queued;     // calls that wait for a place now
   uint64_t waited;     // calls that had to
   uint64_t retried;    // attempts after the first
   uint64_t retries_denied; // failures that were not tried again, because the retry budget was used up
   uint64_t fell_back;  // calls that its stand-in took over
   uint64_t stood_in;   // calls that it took over as a stand-in
   knap_breaker_state_t breaker;
   uint64_t breaker_opened; // how often
   uint64_t breaker_open_ns; // how long it stays open yet
} knap_party_counts_t;

knap_engine_t *knap_engine_create(const knap_engine_config_t *config);
// Ends the engine's threads and frees everything. No call may be in flight and no party used afterwards.
void knap_engine_destroy(knap_engine_t *engine);

// A party lives as long as the engine, so that a stale pointer is refused and never followed into freed memory.
knap_party_t *knap_party_create(knap_engine_t *engine, const knap_party_config_t *config);
const knap_host_t *knap_party_host(const knap_party_t *party);
knap_engine_t *knap_party_engine(const knap_party_t *party);
knap_party_t *knap_party_of(const knap_host_t *host);
void *knap_party_context(const knap_host_t *host);
// An open party is called; a closed one answers UNAVAILABLE. Parties start closed. Opening forgets what the circuit
// breaker counted: another generation serves now.
void knap_party_open(knap_party_t *party, int32_t open);
// Whether calls wait at a closed gate before it; see below.
bool knap_party_gated(const knap_party_t *party);
void knap_party_count(const knap_party_t *party, knap_party_counts_t *counts);

// Sets bulkhead, line and breaker anew, as in the party's configuration: another generation serves, with other limits. No
// call may be in flight, or the new limit holds only once those have ended.
void knap_party_limit(knap_party_t *party, const knap_party_config_t *config);

// Gives the callers of all calls in flight on this party `result`, and tells the callee to stop; it still owes its
// completions, and until then the calls count as in flight. Calls that wait at a gate are left. Returns how many ended.
uint32_t knap_party_end_calls(knap_party_t *party, const knap_result_t *result);

// Whether the engine has nothing left of the calls that this party made and served: no slot that could call it back.
bool knap_party_idle(knap_party_t *party);
// Waits until every thread has been outside of all plugins' functions once since now: what was in the code of an idle party
// has left it. False when that takes longer than `limit_ns`.
bool knap_engine_left(knap_engine_t *engine, uint64_t limit_ns);
// Gives up a party that is idle and left, whose instance is gone and is in no list of hooks: nobody may use its host pointer
// from now on, and its memory is for the next party of its name. Returns its context; null, and nothing is changed, while a
// route leads to it.
void *knap_party_retire(knap_party_t *party);

// ## Gates
// A closed gate holds back the calls of its parties while they are replaced: calls wait, their deadlines running, and
// go to whoever serves their routes when it opens. A call that descends from one in flight on a gated party passes to
// that party, so that A calling B calling A can end. So: close, wait until knap_party_count shows no call in flight,
// provide the routes anew (or give the old parties back with knap_party_open), open.
typedef struct knap_gate knap_gate_t;
// Closes a new gate before these parties. Null when memory is exhausted.
knap_gate_t *knap_gate_close(knap_engine_t *engine, knap_party_t *const *parties, uint32_t count);
// Lets the waiting calls go on, in their order, on this thread. Once. The parties' later calls go where their routes
// lead.
void knap_gate_open(knap_gate_t *gate);
uint32_t knap_gate_waiting(knap_gate_t *gate);

// Takes back a call from whoever has it of the party that serves it, because that process died: the callee hears `closed`
// and owes nothing more, and the call goes on as if it had come now. With `may_have_run` only three times, so that a call
// that kills its callee does not go on for ever. `body` (kept) is the call's. False: it cannot be taken back (it was given
// up, or may have run and streams); the callee still owes its completion.
//
// Requeue: it waits at the party's gate, which is closed. Detach: it stays admitted, and another of the party's processes
// is given it under the same handle.
bool knap_call_requeue(const knap_host_t *host, knap_call_t call, knap_bytes_t body, knap_buffer_t *buffer,
                       bool may_have_run);
bool knap_call_detach(const knap_host_t *host, knap_call_t call, bool may_have_run);

// Ends a call that the party has but did not run, with UNAVAILABLE or RESOURCE_EXHAUSTED: a stand-in may run it. `body`
// (kept) is the call's.
void knap_call_unserved(const knap_host_t *host, knap_call_t call, knap_status_t status, const char *message,
                        knap_bytes_t body, knap_buffer_t *buffer);

// The route of that name, made when it does not exist. Routes are never removed.
knap_route_t *knap_route_named(knap_engine_t *engine, const char *name);
// From the next call on, `provision` (copied) serves the route; null: nobody does.
void knap_route_provide(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision);
// The same for a stand-in: it serves calls while nobody else serves the route or the one who does is full or has an open
// breaker, and those that failed there with UNAVAILABLE or RESOURCE_EXHAUSTED and did not run, or may run twice. What fails
// at the stand-in has failed.
void knap_route_provide_fallback(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision);

// How long to wait before retry number `retry` (from 0): exponential back-off with full jitter, drawn by `random`.
uint64_t knap_backoff_ns(uint32_t retry, uint64_t random);

// Lets `party` call `route`. 0 when the party has no place left (65,536 bindings).
uint64_t knap_party_bind(knap_party_t *party, knap_route_t *route);
void knap_party_unbind(knap_party_t *party, uint64_t binding);

// The call of knap.services/1.
knap_status_t knap_engine_call(const knap_host_t *host, uint64_t binding, const knap_outgoing_t *outgoing,
                               knap_call_t *call);

// For whom a call is made that another process passes on: what the callee sees of its caller. Buffers of the host's, of
// which the call takes a reference; null: none.
typedef struct knap_origin {
   knap_buffer_t *caller, *principal, *trace;
} knap_origin_t;
// The same, for a caller that only another process knows.
knap_status_t knap_engine_call_for(const knap_host_t *host, uint64_t binding, const knap_outgoing_t *outgoing,
                                   const knap_origin_t *origin, knap_call_t *call);

// What an end that passes a call on must know of it.
typedef struct knap_call_view {
   uint64_t    deadline_ns; // 0: none, or the method's default counted from now
   uint64_t    granted;     // how many items the caller has let the callee send, in all
   uint32_t    input_open, waits; // KNAP_OUTGOING_WAITS
   knap_call_t parent;
   knap_text_t caller, principal, trace;
} knap_call_view_t;
// Fills it for a call that this party serves and nobody else may complete meanwhile; false when it has ended.
bool knap_call_view(const knap_host_t *host, knap_call_t call, knap_call_view_t *view);
// The context that the caller of `call`, one this party serves, gave; null when its functions are not `caller`.
void *knap_call_context(const knap_host_t *host, knap_call_t call, const knap_caller_t *caller);
// How many plugin frames are on this thread's stack.
uint32_t knap_engine_depth(knap_engine_t *engine);

// What a callee or a caller may hear besides, where `size` in its table says that it is one of these: every grant of the
// other end. For ends that pass a call on. A callee hears how many items it was granted in all, maybe not in order: as
// in the view, so that what was granted around it counts once.
typedef struct knap_callee_relay {
   knap_callee_t callee;
   void (*granted)(void *context, knap_call_t call, uint64_t granted);
   // The caller waits. `hold` keeps the context for `wait`, which looks out for the answer and lets go of it.
   bool (*hold)(void *context);
   void (*wait)(void *context);
} knap_callee_relay_t;
typedef struct knap_caller_relay {
   knap_caller_t caller;
   void (*granted)(void *context, knap_call_t call, uint32_t items);
} knap_caller_relay_t;

typedef struct knap_hook {
   void (*run)(void *instance, knap_call_t call); // must complete the handle
   void       *instance;
   const char *name;        // lives as long as the engine
   bool        is_blocking; // runs on the pool: one that never returns holds a thread of its own and nobody else's
} knap_hook_t;
// Runs a hook of `party` as a call of `caller`'s. `outgoing` as in a call.
knap_status_t knap_engine_hook(knap_party_t *caller, knap_party_t *party, const knap_hook_t *hook, const knap_outgoing_t *outgoing,
                               knap_call_t *call);

// ## Who runs
// Each thread notes whose code it runs, for whoever must know it when the process crashes or a method does not return.

typedef struct knap_running {
   const char *plugin;
   const char *what;       // a method's full name, a hook's, or what the engine was told
   uint32_t    generation;
} knap_running_t;

// Runs `work(context)` as code of the party's; `what` lives until it returns. For what is no call: loading, creation.
void knap_engine_within(knap_party_t *party, const char *what, void (*work)(void *context), void *context);
// What plugin this thread runs now; false: none. Safe in a signal handler.
bool knap_engine_running(knap_running_t *running);
// Methods and hooks of this plugin's that have not completed, at most `most` of them. Safe in a signal handler.
uint32_t knap_engine_serving(const knap_engine_t *engine, const char *plugin, knap_running_t *serving, uint32_t most);

// LONG: it had not returned after a millisecond, although it may not block. HANGS: nor for the watchdog's time, which for
// a method that may block begins when its default deadline is over. RETURNED: what was told of has; it may be told late.
typedef enum { KNAP_HELD_LONG = 1, KNAP_HELD_HANGS, KNAP_HELD_RETURNED } knap_held_stage_t;

// Code of a plugin in this process that does not return.
typedef struct knap_held {
   knap_running_t    running;
   uint64_t          lasted_ns; // since it was first seen
   knap_held_stage_t stage;     // each is told once of one run of a function
} knap_held_t;
// Has a thread look, again and again, at what runs, and tell of what does not return. It sleeps while nothing is called, and
// looks for 1 ms of every 20 ms otherwise, so what often takes too long is found soon and what takes 20 ms surely. Time
// in which the thread was not given a processor is not counted. Once an engine.
bool knap_engine_watch(knap_engine_t *engine, void (*held)(void *context, const knap_held_t *held), void *context);
// The watchdog's time; 10 s before it is set.
void knap_engine_watchdog(knap_engine_t *engine, uint64_t hang_ns);

// knap.timers/1.
knap_status_t knap_engine_timer(const knap_host_t *host, uint64_t when_ns, void (*fire)(void *), void *context,
                                uint64_t *timer);
knap_status_t knap_engine_timer_stop(const knap_host_t *host, uint64_t timer);
// Stops all timers of a party, which is being suspended.
void knap_party_end_timers(knap_party_t *party);

// Sets who sees and who judges every call, in order; all of it is copied and swapped at once.
typedef struct knap_hooked {
   void *instance;
   const knap_plugin_observe_t   *observe;   // or null
   const knap_plugin_intercept_t *intercept; // or null
   knap_party_t                  *party;
} knap_hooked_t;
// While somebody who must judge is missing: calls from outside, which are those of parties that may assert a principal,
// fail with UNAVAILABLE and `reason`; but those to `open`, which mends it.
typedef struct knap_closure {
   const char         *reason;
   const knap_party_t *open;
} knap_closure_t;
// `closure`: null when nobody is missing.
void knap_engine_hooks(knap_engine_t *engine, const knap_hooked_t *hooks, uint32_t count, const knap_closure_t *closure);

uint64_t knap_now_ns(void); // CLOCK_MONOTONIC
