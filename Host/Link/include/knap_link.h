#pragma once
#include <knap_engine.h>

// # The link
//
// Joins the call engines of two processes, the host and one of its workers, so that a call goes from a party of one to
// a plugin of the other as if both were in one place: streams, credit, cancellation, deadlines and results all cross.
// Both sides run this code.
//
//      host                                                            worker
//      caller -> route -> party "notes"  == ring of requests ==>  party "host" -> route -> the plugin
//                                        <== ring of answers ==
//
// Everything goes through two rings, one per direction, in one sealed memory file (ring.h). What the other side wrote
// is checked before it is used: a link that finds nonsense is broken and stays so.

typedef struct knap_link  knap_link_t;
typedef struct knap_group knap_group_t;

enum {
   KNAP_LINK_MEMORY = 2 * ((1 << 20) + 4096), // bytes of the shared file
   KNAP_LINK_WINDOW = 4096,                   // calls in flight, each way
   KNAP_LINK_SPECIAL = 0x8000,                // methods from here on are `special`
};

typedef struct knap_link_config {
   knap_party_t *party;     // calls to it are sent over; it makes the other side's calls
   void   *memory;          // KNAP_LINK_MEMORY bytes, shared
   int32_t is_host;         // which of the rings is which
   knap_group_t *group;     // of which it is to be a member, see below; null: none
   int32_t doorbell;        // eventfd at which this side's keeper sleeps, a poller; -1: it calls knap_link_serve
   int32_t other_doorbell;  // the other side's
   // Makes a call that the other side asked for: `method` is what the other side's provision says as its index.
   knap_status_t (*call)(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                         knap_call_t *call);
   // The deadline of a call passed and the other side has not completed it: it may hang. May be null.
   void (*overdue)(void *context);
   void   *context;
} knap_link_config_t;

// The shared memory, sealed against shrinking and growing; a descriptor or -errno.
int knap_link_memory(void);

knap_link_t *knap_link_create(const knap_link_config_t *config);
// Ends every call over this link: what the other side had not begun, or what may run twice, goes to another member of its
// group, or waits at the party's gate if that is closed; the rest answers UNAVAILABLE, or UNKNOWN with `may_have_run` where
// that is so. Nothing is sent afterwards.
void knap_link_break(knap_link_t *link);
// After knap_link_break, and when no thread is in a function of it.
void knap_link_destroy(knap_link_t *link);

// What a provision's `method.call` is for methods of the other side; its `instance` is the link.
void knap_link_forward(void *link, const knap_request_t *request);
// What a hook is that runs on the other side; KNAP_LINK_SPECIAL and above.
void knap_link_send_special(knap_link_t *link, knap_call_t call, uint32_t method, knap_bytes_t body);
// Which methods may be run again when the worker died: a bit for each index below 64.
void knap_link_idempotent(knap_link_t *link, uint64_t methods);

// Takes what the other side sent, for as long as messages come and then at most `spin_ns`, but not longer than a moment: then
// it rings its own doorbell. Called by the link's keeper, the one thread that the other side wakes, before it sleeps. False:
// the link is broken.
bool knap_link_poll(knap_link_t *link, uint64_t spin_ns);
// The same for a keeper without a doorbell, and sleeps until the other side sends more.
bool knap_link_serve(knap_link_t *link);

// ## Groups
// Several links to processes that can do the same, all of one party: each call goes to the member with the fewest calls in
// flight, and its streams stay there. A member that breaks gives its calls to the others, as knap_link_break says, and to
// the gate only when there is no other.
//
// A link made with a group has a place in it and gets no calls of the group's until it is admitted. One that no longer is
// has ended its last call when knap_link_count says that none is in flight.
enum { KNAP_GROUP_MEMBERS = 64 };

typedef struct knap_group_config {
   knap_party_t *party;    // the members'
   uint32_t busy;          // calls in flight that one member works on at a time, more wait; 0: unlimited
   // A call found all that were looked at busy. Not said again before knap_group_rearm. On the caller's thread, which it
   // must not hold.
   void   (*pressed)(void *context);
   void    *context;
} knap_group_config_t;

knap_group_t *knap_group_create(const knap_group_config_t *config); // null: out of memory
// When no call is admitted any more that could be routed to it. Its memory goes with its last link.
void knap_group_destroy(knap_group_t *group);
void knap_group_admit(knap_link_t *link, bool admits);
void knap_group_rearm(knap_group_t *group);
// What a provision's `method.call` is for methods of all members; its `instance` is the group.
void knap_group_forward(void *group, const knap_request_t *request);

// One thread that polls many links, parked while they are idle.
typedef struct knap_poller knap_poller_t;
knap_poller_t *knap_poller_create(void);
void knap_poller_destroy(knap_poller_t *poller);
int knap_poller_add(knap_poller_t *poller, knap_link_t *link);
// Returns when the poller is out of the link and will not touch it again.
void knap_poller_remove(knap_poller_t *poller, knap_link_t *link);

typedef struct knap_link_counts {
   uint64_t sent, received, wakes, queued_bytes;
   uint32_t in_flight; // both ways
   uint32_t outgoing;  // of them those that the other side serves
   int32_t  broken;
} knap_link_counts_t;
void knap_link_count(knap_link_t *link, knap_link_counts_t *counts);
