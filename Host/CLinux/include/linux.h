#pragma once
// Linux's own system calls, which Swift's Glibc module hides (it is built without _GNU_SOURCE).
//
// Every function returns -1 and sets errno on failure, like the calls it wraps. All descriptors are close-on-exec.
#include <stdint.h>

// accept4(2): the next client, non-blocking.
int knap_accept(int listener);
// A non-blocking, or blocking, Unix stream socket.
int knap_stream_socket(int blocks);
// SO_PEERCRED, unix(7): who connected.
int knap_peer(int socket, int32_t *pid, uint32_t *uid);
// open(2) with O_PATH: a directory as a place, not for reading.
int knap_open_place(const char *directory);
// eventfd(2), non-blocking.
int knap_event(void);
// pidfd_open(2): readable when the process has ended.
int knap_pidfd(int32_t pid);
// inotify(7): readable when `name`s are moved into the directory. Non-blocking.
int knap_watch_moves(const char *directory);
// Blocks SIGTERM, SIGINT and SIGHUP in this thread and those it starts, and returns a signalfd(2) for them.
int knap_stop_signals(void);
// The number of the next stop signal; waits for it.
int knap_next_signal(int signals);

// Starts /proc/self/exe in a session of its own, with stdin from /dev/null, stdout and stderr appended to `log`, no
// other descriptor, and all signals as a fresh process has them. Returns its process id.
int32_t knap_start_host(char *const arguments[], const char *log);
