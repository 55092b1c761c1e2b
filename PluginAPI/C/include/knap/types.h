#pragma once
#include <stddef.h>
#include <stdint.h>

// # Types
//
// The few shapes that every header uses. Three rules hold for all of the ABI:
//
// - A table starts with its own size in bytes and only ever grows at its end. Each side reads the prefix that it
//   knows: an old plugin runs on a new host and the reverse. Inside that prefix no function pointer is null.
// - Nothing that one side allocated is freed by the other. Pointers passed to a function are borrowed until it
//   returns, unless its comment says otherwise.
// - No exception, panic, longjmp or errno crosses. Failures are status codes (status.h).
//
// Every function carries a tag: [control] is called by the host one at a time for each instance; [call] may run on
// any number of threads at once; [any-thread] may be called from everywhere, callbacks included. What follows `&` is
// the state in which the instance must be.

#ifdef __cplusplus
#define KNAP_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define KNAP_EXPORT __attribute__((visibility("default")))
#endif

// UTF-8, not terminated. `data` may be null when `size` is 0.
typedef struct knap_text {
   const char *data;
   uint64_t    size;
} knap_text_t;

// Bytes that somebody else owns. `data` may be null when `size` is 0.
typedef struct knap_bytes {
   const uint8_t *data;
   uint64_t       size;
} knap_bytes_t;

// One end of a call. A handle whose call has ended is refused by every function; it never reaches another call.
// 0 is no call.
typedef uint64_t knap_call_t;

// Where a host function puts text or bytes of a length that only it knows. `write` may be called several times, with
// consecutive pieces, before the function returns.
typedef struct knap_writer {
   void *context;
   void (*write)(void *context, knap_bytes_t piece);
} knap_writer_t;

typedef struct knap_host knap_host_t;
