#pragma once
#include "include/knap_link.h"
#include "ring.h"

// The link's own types; link.c has what both directions share, outbound.c calls that leave, inbound.c calls that come,
// group.c which of several links a call leaves by.

enum {
   MESSAGE_CALL = 1, // a: deadline, b: method; body: call_header_t, principal, trace, caller, request
   MESSAGE_RESULT,   // a: status; body: result_header_t, content type, message, answer
   MESSAGE_ITEM,     // a: id, b: kind
   MESSAGE_GRANT,    // a: items
   MESSAGE_HALF_CLOSE,
   MESSAGE_CANCEL,   // a: reason
};
enum {
   FLAG_TO_CALLER = 1 << 0, // concerns a call of the receiver's; else one that it serves
   FLAG_STREAMS   = 1 << 1,
   FLAG_PARENT    = 1 << 2,
};

typedef struct knap_seat knap_seat_t;

typedef struct call_header {
   uint32_t credit;
   uint32_t parent_tag, parent_serial; // one that the receiver sent over
   uint32_t watched; // see ring.h
   uint16_t principal, trace, caller, reserved;
} call_header_t;

typedef struct result_header {
   uint32_t content_type, message;
} result_header_t;

enum {
   KEPT_INLINE = 128,
   LINK_TEXTS  = 1 << 18, // what a message holds besides a body: its own header and texts
};

// A call of this side that the other side serves.
typedef struct outbound {
   knap_link_t   *link;
   struct outbound *next;
   uint32_t       tag, serial;
   knap_call_t    call; // the callee's handle here
   uint32_t       method;
   atomic_bool    used;
   bool           streams;
   bool           waits;     // the caller looks out for the answer later
   bool           begun;     // the other side sent items or gave credit
   atomic_bool    closed;    // the caller has half-closed
   _Atomic uint64_t granted, told; // how many items the other side may send in all, and how many it was told of
   atomic_int     sending; // 0: not sent, 1: sent, 2: cancelled before it was sent, 3: abandoned
   atomic_int     holders; // the engine, until it has no more callbacks, and the thread that forwards
   atomic_bool    ended;
   _Atomic uint64_t position;
   knap_bytes_t   body; // kept, to send it again to another process
   knap_buffer_t *kept;
   uint8_t        small[KEPT_INLINE];
} outbound_t;

// A call of the other side that this side serves.
typedef struct inbound {
   knap_link_t  *link;
   uint32_t      tag;
   _Atomic uint32_t serial;
   atomic_bool   used;
   uint32_t      watched; // by its caller, see ring.h
   knap_call_t   call; // the caller's handle here
} inbound_t;

struct knap_link {
   knap_party_t      *party;
   const knap_host_t *host;
   knap_engine_t     *engine;
   knap_link_config_t config;
   knap_group_t      *group; // and its place in it; null: it has none
   knap_seat_t       *seat;
   bool               may_spin;
   bool               rested;
   uint32_t           futile, unspun; // of its keeper, see spins in link.c
   uint64_t           idempotent;
   atomic_bool        broken;
   atomic_flag        consuming; // held by the thread that takes messages
   _Atomic(const void *) consumer; // who that is
   atomic_bool        missed;    // a thread that must have messages taken found that flag set; see link_leave
   atomic_uint        cold, skip; // see watch
   atomic_uint        inbound_count;
   _Atomic uint64_t   received;
   _Atomic uint64_t   answered; // the furthest position of a call that the other side said something of
   knap_origin_t      origin; // of the last call that came; most come from the same few
   knap_bytes_t       texts[3];
   knap_consumer_t    in;
   _Alignas(64) knap_producer_t out;
   pthread_mutex_t    lock; // of the free places
   outbound_t        *free;
   uint32_t           fresh, in_flight;
   outbound_t        *outbound;
   inbound_t         *inbound;
};

static inline knap_piece_t piece(const void *data, uint64_t size) { return (knap_piece_t){data, size}; }

// link.c
bool link_take(knap_link_t *link);  // the right to consume, without waiting
void link_leave(knap_link_t *link); // gives it back
bool link_is_taken_here(knap_link_t *link); // by this thread
// Takes a number of messages at most, and none after `ended`, which may be null, is set. How many.
int link_drain(knap_link_t *link, const atomic_bool *ended);
// Has messages taken that are there now, by this thread or by the one that takes them already.
void link_look(knap_link_t *link);
// `watched`: see ring.h.
void link_send(knap_link_t *link, knap_message_t header, const knap_piece_t *pieces, uint32_t count, uint32_t watched);

// outbound.c
// The call is counted already. `watches`: waits a moment for the answer.
void outbound_forward(knap_link_t *link, knap_call_t call, uint32_t method, knap_bytes_t body, knap_buffer_t *buffer,
                      bool watches);
bool outbound_result(knap_link_t *link, const knap_message_t *message, const uint8_t *body);
bool outbound_item(knap_link_t *link, const knap_message_t *message, const uint8_t *body);
outbound_t *outbound_of(knap_link_t *link, uint32_t tag, uint32_t serial);
void outbound_abandon(knap_link_t *link);

// inbound.c
bool inbound_call(knap_link_t *link, const knap_message_t *message, const uint8_t *body);
bool inbound_item(knap_link_t *link, const knap_message_t *message, const uint8_t *body);
inbound_t *inbound_serving(knap_link_t *link, knap_call_t call);
void inbound_abandon(knap_link_t *link);

// group.c
knap_seat_t *group_seat(knap_group_t *group, knap_link_t *link); // closed; null: all are taken
void group_unseat(knap_group_t *group, knap_seat_t *seat);
void seat_count(knap_seat_t *seat);   // a call that will be forwarded; a null seat counts nothing
void seat_uncount(knap_seat_t *seat); // from here on its link may be gone
uint32_t seat_calls(const knap_seat_t *seat);
// Closes the link of `place` and gives its call to another member, or to the gate. False: it cannot be taken back.
bool group_take_over(outbound_t *place, bool may_have_run);
