// What the two halves of the watching host share: its calls (host.c), and what it offers besides (services.c).
#pragma once
#include "checker.h"

enum { CALLS_MOST = 4096, TIMERS_MOST = 1024 };

typedef struct {
   knap_call_t          handle; // 0: free
   char                 name[192];
   uint64_t             deadline_ns;
   bool                 has_ended;   // the plugin has completed it
   bool                 is_given_up; // the caller has gone
   bool                 is_input_open;
   uint64_t             granted;  // what the plugin may still be sent
   uint64_t             credit;   // what it may still send
   bool                 was_refused;
   uint64_t             refusals;
   uint64_t             items;
   const knap_callee_t *callee; // until `closed` has returned
   void                *context;
   unsigned             callbacks; // that run now
   bool                 is_closing;
   answer_t             answer;
} slot_t;

struct knap_buffer {
   host_t        *host;
   uint64_t       size;
   long           references;
   knap_buffer_t *next, *previous;
   uint8_t        data[];
};

typedef struct {
   uint64_t number; // 0: free
   uint64_t when_ns;
   void (*fire)(void *context);
   void *context;
} waiting_t;

// Tables as the plugin sees them, with room for what a later version could add.
typedef struct {
   knap_calls_t calls;
   void        *later[4];
} calls_room_t;
typedef struct {
   knap_host_t host; // first: the plugin's pointer to it is a pointer to the room
   void       *later[4];
} host_room_t;

struct host {
   host_room_t     room; // first
   calls_room_t    calls;
   knap_buffers_t  buffers;
   shape_t         shape;
   pthread_mutex_t lock;
   pthread_cond_t  changed;
   slot_t         *slots;
   uint64_t        serial;
   knap_buffer_t  *live;
   waiting_t       timers[TIMERS_MOST];
   pthread_t       clock;
   bool            is_closing;
};

static inline host_t *of(const knap_host_t *host) { return (host_t *)(uintptr_t)host; }

bool  is_utf8(const char *text, uint64_t size);
// Fires the timers that are due, until the host closes.
void *keep_time(void *host);
extern const knap_buffers_t buffers_table;
const void *extension(const knap_host_t *host, const char *id);
