#pragma once
#include <stdint.h>
#include <sys/types.h>

// # The system calls of a worker
//
// libseccomp takes a millisecond or two to make a filter of them, as long as all the rest of a worker's start. So the host makes
// it, once, and each worker is sent a copy in which its own number stands where it may act on itself.

enum { KNAP_CALL_FILTER_BYTES = 32768 }; // the kernel takes no more

// The filter for the process `worker`, which may open sockets to listen on or not: instructions as seccomp(2) takes them, into
// `code`, which has room for KNAP_CALL_FILTER_BYTES. Returns the bytes, or -errno. [any thread]
int64_t knap_call_filter(pid_t worker, int may_listen, void *code);
