#pragma once
#include "worker.h"

// What the host asks the worker to give up; see sandbox.c.
typedef struct sandbox_request {
   uint32_t read_count, write_count, listen_count;
   char   **read_paths, **write_paths;
   uint32_t *listen_ports;
   uint64_t memory_bytes; // 0: no limit
   uint32_t required;     // layers that must be achieved
   uint32_t user;         // to run as, with a group of the same number; 0: the host's
   char    *no_user;      // why it is the host's
   char    *call_filter;  // instructions for seccomp(2)
   uint64_t call_filter_size;
   char    *no_filter;    // why there are none
} sandbox_request_t;

// SCOPES: Landlock restricts ports, signals and abstract sockets as well, which older kernels' does not.
enum {
   SANDBOX_NO_NEW_PRIVILEGES = 1, SANDBOX_CAPABILITIES = 2, SANDBOX_LANDLOCK = 4, SANDBOX_SECCOMP = 8, SANDBOX_SCOPES = 16,
   SANDBOX_OWN_USER = 32,
};

// Reads it from the frame that starts a worker.
void sandbox_read(sandbox_request_t *request, text_buffer_t *start);
// Gives the rights away, for good. What was achieved, as bits; what was not is said in `remarks`.
uint32_t sandbox_enter(const sandbox_request_t *request, char *remarks, uint64_t size);
