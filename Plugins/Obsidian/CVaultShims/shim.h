#pragma once
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <openssl/evp.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

// What Swift's view of the C library leaves out.

// openat2(2). Returns the descriptor, or -1 with errno set.
static inline long knap_openat2(int directory, const char *path, const void *how, unsigned long size) {
   return syscall(437, directory, path, how, size);
}

// renameat2(2) with RENAME_NOREPLACE.
static inline int knap_rename_new(int from, const char *name, int to, const char *new_name) {
   return (int)syscall(SYS_renameat2, from, name, to, new_name, 1);
}

// renameat2(2) with RENAME_EXCHANGE: each takes the place of the other.
static inline int knap_exchange(int folder, const char *name, const char *other) {
   return (int)syscall(SYS_renameat2, folder, name, folder, other, 2);
}

// Whether somebody has the file open for writing: a read lease, which is given back at once, is then refused
// (fcntl(2), F_SETLEASE). False also where leases cannot be had. Whoever opens the file in that moment has the kernel
// tell us by a signal, which must not be the usual SIGIO: that ends the process.
#ifndef F_SETLEASE
#define F_SETLEASE 1024
#define F_GETLEASE 1025
#define F_SETSIG 10
#endif
static inline int knap_has_writer(int file) {
   if (fcntl(file, F_SETSIG, SIGURG) != 0) return 0;
   if (fcntl(file, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
   // Whoever is opening it waits for the lease to end, and then has it open.
   int lease = fcntl(file, F_GETLEASE);
   fcntl(file, F_SETLEASE, F_UNLCK);
   return lease != F_RDLCK;
}

// syncfs(2): all of a file system that is not on its disk yet.
static inline int knap_syncfs(int file) { return (int)syscall(SYS_syncfs, file); }

// malloc_trim(3): gives back what a large piece of work on several threads has left.
static inline void knap_vault_trim(void) { malloc_trim(0); }

static inline int knap_vault_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }
static inline int knap_vault_inotify(void) { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }

// memmem(3). Where a text of bytes is first found in another, or NULL.
void *memmem(const void *bytes, size_t count, const void *text, size_t text_count);
