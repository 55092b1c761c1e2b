#pragma once
#include "worker.h"

// What the host asks the worker to give up; see sandbox.c.
typedef struct sandbox_request {
   uint32_t read_count, write_count, listen_count;
   char   **read_paths, **write_paths;
   uint32_t *listen_ports;
   uint64_t memory_bytes; // 0: no limit
   uint32_t required;     // levels that must be achieved
} sandbox_request_t;

enum { SANDBOX_NO_NEW_PRIVILEGES = 1, SANDBOX_CAPABILITIES = 2, SANDBOX_LANDLOCK = 4, SANDBOX_SECCOMP = 8 };

// Allows only the system calls that plugins need; 0 or -errno.
int sandbox_restrict_calls(bool may_listen);

// Reads it from the frame that starts a worker.
void sandbox_read(sandbox_request_t *request, text_buffer_t *start);
// Gives the rights away, for good. What was achieved, as bits; what was not is said in `remarks`.
uint32_t sandbox_enter(const sandbox_request_t *request, char *remarks, uint64_t size);
