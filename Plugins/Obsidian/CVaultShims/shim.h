#pragma once
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

static inline int knap_vault_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }
static inline int knap_vault_inotify(void) { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }

// memmem(3). Where a text of bytes is first found in another, or NULL.
void *memmem(const void *bytes, size_t count, const void *text, size_t text_count);
