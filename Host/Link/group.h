#pragma once
#include "link.h"

// A group's own types.

enum { MOST_MEMBERS = KNAP_GROUP_MEMBERS };

// A member's place. It outlasts the link in it, so that its count can be read and raised by whoever looks for a member
// while the link goes.
struct knap_seat {
   _Alignas(64) atomic_uint calls; // to the link, from before they are forwarded until nothing uses the link for them
   knap_link_t *link;              // written while the seat is closed
};

struct knap_group {
   knap_group_config_t config;
   const knap_host_t  *host;
   pthread_mutex_t     lock;  // of these:
   uint64_t            taken; // a bit for each seat with a link
   bool                ends;  // with its last link
   _Alignas(64) _Atomic uint64_t open; // those whose link takes calls
   atomic_bool         pressed;
   knap_seat_t         seats[MOST_MEMBERS];
};
