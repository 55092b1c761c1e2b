#pragma once
// Linux's own system calls, which Swift's Glibc module hides (it is built without _GNU_SOURCE).
//
// Every function returns -1 and sets errno on failure, like the calls it wraps. All descriptors are close-on-exec.
#include <stdint.h>

// mallopt(3): as many pools of memory as there are processors. Each keeps what its busiest moment took, and otherwise there
// may be eight for each processor.
void knap_limit_pools(void);
// setrlimit(2): as many descriptors as this process may have, up to 65,536; each client takes some.
void knap_raise_descriptors(void);
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

// eventfd(2) whose reader blocks, for another process.
int knap_doorbell(void);
// A connected pair of Unix stream sockets; a send on either gives up after five seconds.
int knap_socket_pair(int pair[2]);
// sendmsg(2) and recvmsg(2) with at most one descriptor (-1: none). `knap_socket_receive` does not wait; it returns the bytes
// received, 0 at the end, -1 with EAGAIN when there are none.
int64_t knap_socket_send(int socket, const void *bytes, uint64_t size, int descriptor);
int64_t knap_socket_receive(int socket, void *bytes, uint64_t size, int *descriptor);

// Starts `path` in a session of its own, with stdin from /dev/null, `output` as stdout and stderr, `descriptors` as 3, 4,
// ..., and nothing else; signals as a fresh process has them. All are started from one thread that lives as long as this
// process, because a child that asks for a signal at its parent's death gets it when that thread ends. Returns the
// process id and puts a pidfd into `pidfd`.
int32_t knap_spawn(const char *path, char *const arguments[], char *const environment[], const int *descriptors,
                   int count, int output, int *pidfd);
// Runs a program, found on PATH, in `directory`, with its stdout going to stderr, and waits for it. Returns its exit status,
// 128 and the signal's number where one ended it, or -1 where it could not be started.
int32_t knap_run_program(const char *directory, char *const arguments[]);
// Waits for a child by its pidfd: the signal that ended it, negated, or its exit status.
int32_t knap_reap(int pidfd);
// pidfd_send_signal(2).
int knap_signal(int pidfd, int signal);
// dl_iterate_phdr(3): whether a library that was loaded from this path is mapped.
int knap_is_mapped(const char *path);
// Where the library that the loader would take for `name` was loaded from, into `path`: 0; -1 when none is loaded.
int knap_loaded_as(const char *name, char *path, uint64_t size);
// getxattr(2): whether `path` has the attribute `name` with this value: 1 or 0.
int knap_has_attribute(const char *path, const char *name, const char *value);
// openat2(2) with RESOLVE_BENEATH: fails with EXDEV when `path`, or a link on the way, leads out of `directory`. With
// `as_place` it is opened as a place (O_PATH), else for reading, without waiting.
int knap_open_beneath(int directory, const char *path, int as_place);
// renameat2(2) with RENAME_EXCHANGE: each gets the other's name, at once.
int knap_exchange(const char *one, const char *other);
// inotify(7): readable when something in `directory` is made, written, moved or removed. Adds to `watch`, or makes it (-1).
int knap_watch_changes(int watch, const char *directory);
// pipe2(2), close-on-exec; the reading end does not wait.
int knap_pipe(int pipe[2]);
