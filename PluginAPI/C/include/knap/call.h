#pragma once
#include "buffer.h"
#include "status.h"

// # Calls
//
// A call is asynchronous and duplex, and completes exactly once. The caller sends one request and may go on sending
// items; the callee may send items back and ends the call with one result, inline in `knap_method_t.call` (the fast
// path: nothing is copied or allocated) or later from any thread.
//
//      caller                                callee
//        | request ---------------------------> |  knap_method_t.call
//        | item --> item --> half_close ------> |  knap_callee_t
//        | <------------ item <-- item          |
//        | cancel ----------------------------> |
//        | <--------------------------- result  |  complete, once
//
// A handle names one end: the caller's and the callee's are different numbers, and the functions below serve both,
// so that a plugin may call itself.
//
// ## Credit
// Each direction has a credit: how many DATA, REQUEST and REPLY items the receiver is ready to take. `send` without
// credit is refused with RESOURCE_EXHAUSTED and nothing is queued; the sender then waits for its `credit` callback,
// which comes after a refusal only. So a sender sends until it is refused, and a million items with a credit of one
// use no stack. PROGRESS and LOG items need no credit; where the receiver is not interested they are dropped.
//
// ## Order and threads
// One end's sends are made one after the other, and arrive in that order. A callback may call every function here.
// The host holds no lock in a callback. It runs plugin frames at most 16 deep on one stack and queues what is deeper.
//
// ## The end
// When a caller cancels or a deadline passes, the host answers the caller at once and tells the callee, whose slot
// stays taken until it completes; its late result is counted and dropped. `knap_caller_t.complete` is the last
// callback to the caller, `knap_callee_t.closed` the last one to the callee: contexts are freed there.

// ## Size
// No body, of a request, an item or an answer, is larger than this, wherever it comes from and goes to. A call with a
// larger one ends with INVALID_ARGUMENT and was not made; a larger item is refused with it; a larger answer becomes
// RESOURCE_EXHAUSTED. What is larger goes as several items.
enum { KNAP_BODY_LARGEST = 64 << 20 };

enum {
   KNAP_ITEM_DATA     = 1,
   KNAP_ITEM_PROGRESS = 2, // JSON: {"progress": n, "total": n, "message": text}
   KNAP_ITEM_LOG      = 3, // JSON: {"level": text, "message": text, ...}
   KNAP_ITEM_REQUEST  = 4, // a question to the other end; `id` pairs it with its REPLY
   KNAP_ITEM_REPLY    = 5,
};

typedef struct knap_item {
   uint32_t       size;
   uint32_t       kind;
   uint64_t       id;
   knap_bytes_t   body;
   knap_buffer_t *buffer; // the host's buffer that holds `body`, or null
} knap_item_t;

// What a method gets.
typedef struct knap_request {
   uint32_t       size;
   uint32_t       method; // index in the plugin's table of methods
   knap_call_t    call;
   knap_bytes_t   body;
   knap_buffer_t *buffer; // the host's buffer that holds `body`, or null
} knap_request_t;

// How a call ended. For status OK the body is the answer; otherwise `message` says what happened, to what, and what
// to do, and `body` may hold JSON details.
typedef struct knap_result {
   uint32_t       size;
   knap_status_t  status;
   knap_bytes_t   body;
   knap_buffer_t *buffer;
   knap_text_t    content_type; // empty: what the manifest says
   knap_text_t    message;
} knap_result_t;

// What a callee wants to hear. All functions are set.
typedef struct knap_callee {
   uint32_t size;
   uint32_t reserved;
   // The caller sent an item. [call]
   void (*item)(void *context, knap_call_t call, const knap_item_t *item);
   // The caller will send no more. [call]
   void (*half_close)(void *context, knap_call_t call);
   // A send was refused before, and there is credit now. [call]
   void (*credit)(void *context, knap_call_t call);
   // The caller has its answer: `reason` is CANCELLED or DEADLINE_EXCEEDED. Stop work, then complete. Comes at most
   // once, and at once when the call was cancelled before `listen`. [call]
   void (*cancel)(void *context, knap_call_t call, knap_status_t reason);
   // No callback follows; the context may be freed. [call]
   void (*closed)(void *context);
} knap_callee_t;

// What a caller wants to hear. All functions are set.
typedef struct knap_caller {
   uint32_t size;
   uint32_t reserved;
   // The call ended. The last callback, exactly once. [call]
   void (*complete)(void *context, knap_call_t call, const knap_result_t *result);
   // The callee sent an item. [call]
   void (*item)(void *context, knap_call_t call, const knap_item_t *item);
   // A send was refused before, and there is credit now. [call]
   void (*credit)(void *context, knap_call_t call);
} knap_caller_t;

enum {
   KNAP_CALL_INPUT_OPEN = 1u << 0, // the caller has not half-closed
   KNAP_CALL_CANCELLED  = 1u << 1,
};

// What the host knows of a call. Text lives until the call ends.
typedef struct knap_call_info {
   uint32_t    size;
   uint32_t    flags;
   uint64_t    deadline_ns; // CLOCK_MONOTONIC; 0: none
   knap_text_t principal;   // on whose behalf, as the host recorded it where the chain of calls began
   knap_text_t trace;       // W3C traceparent; empty: none
   knap_text_t caller;      // the calling plugin's name
   knap_text_t method;      // "service.method"
} knap_call_info_t;

typedef struct knap_calls {
   uint32_t size;
   uint32_t reserved;

   // Ends a call that this plugin serves. Null is OK with an empty body. FAILED_PRECONDITION: it had already ended
   // here. CANCELLED: the caller had its answer; this one was dropped. [any-thread]
   knap_status_t (*complete)(const knap_host_t *host, knap_call_t call, const knap_result_t *result);

   // Asks to hear of a call that this plugin serves; at most once a call. [any-thread]
   knap_status_t (*listen)(const knap_host_t *host, knap_call_t call, const knap_callee_t *callee, void *context);

   // Sends one item to the other end. RESOURCE_EXHAUSTED: no credit. CANCELLED: the call is over. INVALID_ARGUMENT: it is
   // too large. [any-thread]
   knap_status_t (*send)(const knap_host_t *host, knap_call_t call, const knap_item_t *item);

   // Says that no more items will be sent. For callers; a callee completes instead. [any-thread]
   knap_status_t (*half_close)(const knap_host_t *host, knap_call_t call);

   // Lets the other end send `items` more. [any-thread]
   knap_status_t (*grant)(const knap_host_t *host, knap_call_t call, uint32_t items);

   // Gives up a call that this plugin made: its `complete` runs with CANCELLED before this returns, unless the call
   // ended first or another callback to this caller is still running, which it then follows. [any-thread]
   knap_status_t (*cancel)(const knap_host_t *host, knap_call_t call);

   // Fills `info` up to its size. [any-thread]
   knap_status_t (*info)(const knap_host_t *host, knap_call_t call, knap_call_info_t *info);

   // For a caller with nothing to do before it has the answer: looks out for what another process answers to this and
   // other calls, and runs their callbacks, for some microseconds where that process is awake and at most 200 where it
   // sleeps. OK: the call is over, and its last callback has returned. UNAVAILABLE: not yet; that follows by itself.
   // [any-thread]
   knap_status_t (*wait)(const knap_host_t *host, knap_call_t call);
} knap_calls_t;
