#define _GNU_SOURCE
#include "include/linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

void knap_limit_pools(void) { mallopt(M_ARENA_MAX, (int)sysconf(_SC_NPROCESSORS_ONLN)); }

void knap_raise_descriptors(void) {
   struct rlimit files;
   if (getrlimit(RLIMIT_NOFILE, &files)) return;
   rlim_t wanted = files.rlim_max < 65536 ? files.rlim_max : 65536;
   if (files.rlim_cur >= wanted) return;
   files.rlim_cur = wanted;
   setrlimit(RLIMIT_NOFILE, &files);
}

int knap_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int knap_stream_socket(int blocks) {
   return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (blocks ? 0 : SOCK_NONBLOCK), 0);
}

int knap_peer(int socket, int32_t *pid, uint32_t *uid) {
   struct ucred peer;
   socklen_t    size = sizeof peer;
   if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
   *pid = peer.pid;
   *uid = peer.uid;
   return 0;
}

int knap_open_place(const char *directory) { return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int knap_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// By number: glibc has had the function since 2.36 only.
int knap_pidfd(int32_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int knap_watch_moves(const char *directory) {
   int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
   if (watch < 0) return -1;
   if (inotify_add_watch(watch, directory, IN_MOVED_TO | IN_ONLYDIR) >= 0) return watch;
   int error = errno;
   close(watch);
   errno = error;
   return -1;
}

int knap_stop_signals(void) {
   sigset_t stop;
   sigemptyset(&stop);
   sigaddset(&stop, SIGTERM);
   sigaddset(&stop, SIGINT);
   sigaddset(&stop, SIGHUP);
   errno = pthread_sigmask(SIG_BLOCK, &stop, NULL);
   return errno ? -1 : signalfd(-1, &stop, SFD_CLOEXEC);
}

int knap_next_signal(int signals) {
   struct signalfd_siginfo info;
   ssize_t                 count;
   do count = read(signals, &info, sizeof info);
   while (count < 0 && errno == EINTR);
   return count == sizeof info ? (int)info.ssi_signo : -1;
}

int32_t knap_start_host(char *const arguments[], const char *log) {
   posix_spawn_file_actions_t actions;
   posix_spawnattr_t          attributes;
   sigset_t                   all, none;
   pid_t                      pid = -1;
   sigfillset(&all);
   sigemptyset(&none);
   if ((errno = posix_spawn_file_actions_init(&actions))) return -1;
   if ((errno = posix_spawnattr_init(&attributes))) {
      posix_spawn_file_actions_destroy(&actions);
      return -1;
   }
   int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
   if (!error) error = posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
   if (!error) error = posix_spawn_file_actions_adddup2(&actions, 1, 2);
   if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
   if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
   if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
   if (!error)
      error = posix_spawnattr_setflags(
         &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
   if (!error) error = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
   posix_spawnattr_destroy(&attributes);
   posix_spawn_file_actions_destroy(&actions);
   errno = error;
   return error ? -1 : pid;
}

static int is_named(struct dl_phdr_info *image, size_t size, void *path) {
   (void)size;
   return image->dlpi_name && !strcmp(image->dlpi_name, path);
}

int knap_is_mapped(const char *path) { return dl_iterate_phdr(is_named, (void *)path); }

int knap_loaded_as(const char *name, char *path, uint64_t size) {
   void *library = dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
   if (!library) return -1;
   struct link_map *map;
   int found = dlinfo(library, RTLD_DI_LINKMAP, &map);
   if (!found) snprintf(path, size, "%s", map->l_name);
   dlclose(library);
   return found;
}

// By number: glibc has no function for it.
int knap_open_beneath(int directory, const char *path, int as_place) {
   struct open_how how = {
      .flags = O_CLOEXEC | (as_place ? O_PATH : O_RDONLY | O_NONBLOCK | O_NOCTTY),
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
   };
   return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int knap_exchange(const char *one, const char *other) {
   return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
}

int knap_has_attribute(const char *path, const char *name, const char *value) {
   char held[64];
   ssize_t size = getxattr(path, name, held, sizeof held);
   return size == (ssize_t)strlen(value) && !memcmp(held, value, strlen(value));
}
