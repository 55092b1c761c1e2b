#pragma once
#include "types.h"

// What the engine's files offer each other.

// failures.c
// An answer of the host's own: what happened, and in the details whose business it is and whether to try again.
typedef struct knap_refusal {
   knap_result_t result;
   bool          by_breaker;
   char          message[320], details[128];
} knap_refusal_t;
enum { RETRY_NEVER = -1, RETRY_LATER = 0 }; // or after so many milliseconds
__attribute__((format(printf, 5, 6)))
void knap_refusal_make(knap_refusal_t *refusal, knap_status_t status, int64_t retry_ms, bool may_have_run,
                       const char *format, ...);
// Counts a call that the party did not get.
void knap_refuse(knap_party_t *party, const knap_refusal_t *refusal);
void knap_account_failure(knap_party_t *party, const knap_slot_t *slot, knap_status_t status, bool by_host);

// slots.c
knap_thread_t *knap_thread_begins(knap_engine_t *engine);
knap_slot_t *knap_slot_refill(knap_thread_t *self);
void knap_thread_leaves(void);
void knap_slot_clean(knap_slot_t *slot, uint64_t word);
void knap_slot_return(knap_slot_t *slot);
void knap_threads_retire(knap_engine_t *engine);
bool knap_slot_change(knap_slot_t *slot, uint32_t serial, uint64_t must, uint64_t must_not, uint64_t set, uint64_t add,
                      uint64_t *before);
void knap_slot_release(knap_slot_t *slot);
bool knap_enter_caller(knap_slot_t *slot, uint32_t serial);
void knap_leave_caller(knap_slot_t *slot);
bool knap_enter_callee(knap_slot_t *slot, uint32_t serial);

// answers.c
void knap_deliver(knap_slot_t *slot, const knap_result_t *result);
void knap_give_up(knap_slot_t *slot, uint32_t serial, knap_status_t reason);
// Ends a call that no callee has, in its stead.
void knap_turn_away(knap_slot_t *slot, const knap_result_t *result);
// Drops the callee's part of a call that was given up before a callee had it.
void knap_end_unserved(knap_slot_t *slot);
void knap_tell_cancel(knap_slot_t *slot, uint32_t serial, knap_status_t reason);
knap_status_t knap_complete(const knap_host_t *, knap_call_t, const knap_result_t *);
knap_status_t knap_cancel(const knap_host_t *, knap_call_t);

// calls.c
void knap_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
// Goes on with a call that waited; its target may have changed. `got` is the bulkhead of which it has a place, with its
// cell, or null. The reference is the callee's.
void knap_proceed(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer, knap_bulkhead_t *got, knap_cell_t *cell);
uint64_t knap_deadline(knap_slot_t *slot);

// views.c
knap_status_t knap_info(const knap_host_t *, knap_call_t, knap_call_info_t *);

// running.c
void knap_watch_wake(knap_thread_t *self);
void knap_watch_prepare(void);
void knap_watch_stop(knap_engine_t *engine);

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
knap_status_t knap_wait(const knap_host_t *, knap_call_t);
void knap_tell_credit(knap_slot_t *slot, uint32_t serial, bool caller);

// timers.c
// Has the call's deadline end it. Whether it had a fair time is told by the method's default time-out. The call may have
// ended by now, and its slot may serve another.
void knap_timer_arm(knap_engine_t *engine, knap_slot_t *slot, uint32_t serial, uint64_t timeout_ns);
void knap_timer_disarm(knap_slot_t *slot);
bool knap_timer_start(knap_engine_t *engine, knap_timer_node_t *node);
void knap_timer_remove(knap_engine_t *engine, knap_timer_node_t *node);
void knap_timers_stop(knap_engine_t *engine);

// pool.c
// Runs a call on the pool, from its admission on where it `proceeds`.
bool knap_pool_run(knap_slot_t *slot, knap_bytes_t bytes, knap_buffer_t *buffer, bool proceeds);
void knap_pool_stop(knap_engine_t *engine);

// lines.c
// Null: no memory.
knap_waiting_t *knap_waiting_make(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
void knap_waiting_free(knap_waiting_t *waiting);
// With the line lock held. Append: false when the call was given up already.
bool knap_line_append(knap_line_t *line, knap_bulkhead_t *bulkhead, knap_waiting_t *waiting);
void knap_line_remove(knap_waiting_t *waiting);
// Takes the call out of where it waits; null when it waits nowhere. Its owner frees it.
knap_waiting_t *knap_waiting_take(knap_slot_t *slot, uint32_t serial);
typedef enum { NOWHERE, IN_LINE, AT_GATE, FOR_RETRY } knap_where_t;
knap_where_t knap_waiting_where(knap_slot_t *slot, uint32_t serial);

// circles.c
// The parties at which calls above this one hold places.
knap_holders_t knap_holders_of(const knap_slot_t *slot);
bool knap_holds(const knap_holders_t *holders, const knap_party_t *party);
// With the line lock held. Whether a call that holds these places would wait for itself if it waited at `party`.
bool knap_closes_circle(const knap_holders_t *holders, knap_party_t *party);
bool knap_note_waiting(const knap_holders_t *holders, knap_party_t *party);
void knap_forget_waiting(const knap_holders_t *holders, knap_party_t *party);

// bulkhead.c
void knap_bulkhead_set(knap_party_t *party, uint32_t limit, uint32_t queue);
knap_admission_t knap_admit_slowly(knap_thread_t *self, knap_slot_t *slot, const knap_target_t *target,
                                   bool permitted, knap_cell_t **cell, knap_bytes_t body, knap_buffer_t *buffer,
                                   knap_refusal_t *refusal);
// Lets the first of the line go on while there are places; first with the cell's, which was given back.
void knap_turn(knap_bulkhead_t *bulkhead, knap_cell_t *wanted);
// Give back the party's permit, the method's place, and both of a call that was admitted and did not run.
void knap_permit_leave(knap_party_t *party, knap_cell_t *cell);
void knap_place_leave(knap_slot_t *slot, const knap_target_t *target);
void knap_dismiss(knap_slot_t *slot, const knap_target_t *target, knap_cell_t *cell);
// Has the calls in the party's lines go on at once: a closed party refuses them.
void knap_bulkhead_flush(knap_party_t *party);
// With the line lock held. Moves the calls in the party's lines, its routes' too, to another line.
void knap_bulkhead_move(knap_party_t *party, knap_line_t *to);
void knap_bulkhead_limit(knap_bulkhead_t *places, knap_party_t *party, uint32_t limit);
void knap_line_release(knap_engine_t *engine, knap_line_t *line);

// gates.c
bool knap_passes_gate(knap_party_t *party, const knap_slot_t *slot);
// MOVED: the gate is open again, so somebody may serve the route.
typedef enum { WAITS, MOVED, FULL } knap_gating_t;
void knap_gates_free(knap_engine_t *engine);
knap_gating_t knap_gate_wait(knap_party_t *party, knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);

// again.c
// Takes a call back from the callee that has it; where it is made `anew`, the callee's handle is stale then. Only one that
// was not given up and in which nobody is, and, where the callee has `begun` it, whose input is closed.
bool knap_take_back(knap_slot_t *slot, knap_call_t call, bool begun, uint64_t also_must, bool anew);
// Has a call that failed with UNAVAILABLE or RESOURCE_EXHAUSTED, and is no callee's, made again: later, or by the stand-in.
// False: it has failed. `ran`: it may have run. `retries`: the same party may be tried again.
bool knap_again(knap_slot_t *slot, bool ran, bool retries, knap_bytes_t body, knap_buffer_t *buffer);
// The same for a call whose callee answers with one of these; false: nothing was done, the answer stands.
bool knap_again_after(knap_slot_t *slot, knap_call_t call, const knap_result_t *result);
void knap_keep_body(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer);
void knap_retry_due(knap_slot_t *slot, uint32_t serial);
void knap_budget_init(knap_party_t *party);
void knap_budget_earn(knap_party_t *party);

// breaker.c
void knap_breaker_init(knap_breaker_t *breaker);
void knap_breaker_set(knap_breaker_t *breaker, const knap_party_config_t *config);
// Whether a call may run now; where one is to try, `call` (serial and index; 0: just asking) is the one from now on.
// False: `refusal` says until when not.
bool knap_breaker_admits(knap_party_t *party, uint64_t call, knap_refusal_t *refusal);
// What a call's end says of the party. Undecided: it ended before anything was learnt.
typedef enum { ATTEMPT_SUCCEEDED, ATTEMPT_FAILED, ATTEMPT_UNDECIDED } knap_attempt_t;
void knap_breaker_note(knap_party_t *party, uint64_t call, knap_attempt_t attempt);
// Closes it anew: another generation serves.
void knap_breaker_reset(knap_party_t *party);
// There is none any more, and nobody is told.
void knap_breaker_forget(knap_party_t *party);
void knap_breaker_count(knap_party_t *party, knap_party_counts_t *counts);

// buffers.c
extern const knap_buffers_t knap_buffers;
knap_buffer_t *knap_buffer_make(uint64_t size);
knap_buffer_t *knap_buffer_copy(const void *bytes, uint64_t size);
knap_buffer_t *knap_buffer_share(knap_buffer_t *buffer);
void knap_buffer_drop(knap_buffer_t *buffer);

// hooks.c
knap_status_t knap_intercept(const knap_hook_list_t *hooks, const knap_slot_t *slot, knap_bytes_t body,
                             knap_result_t *refusal);
void knap_observe_begin(const knap_hook_list_t *hooks, knap_slot_t *slot, knap_call_t call);
void knap_observe_end(knap_slot_t *slot, knap_call_t call, knap_status_t status);
