#define _GNU_SOURCE
#include "include/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

// Processes that this one starts and ends with.

#define MOST_DESCRIPTORS 8

typedef struct job {
   const char  *path;
   char *const *arguments, *const *environment;
   const int   *descriptors;
   int          count, output;
   int32_t      pid;
   int          error, done;
} job_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  changed = PTHREAD_COND_INITIALIZER;
static job_t          *waiting;
static int             started;

// Copies of the descriptors, out of the way of the numbers that they get in the child.
static int actions_of(const job_t *job, const int *copies, posix_spawn_file_actions_t *actions) {
   int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
   if (!error) error = posix_spawn_file_actions_adddup2(actions, job->output, 1);
   if (!error) error = posix_spawn_file_actions_adddup2(actions, 1, 2);
   for (int i = 0; !error && i < job->count; i++) error = posix_spawn_file_actions_adddup2(actions, copies[i], 3 + i);
   return error ? error : posix_spawn_file_actions_addclosefrom_np(actions, 3 + job->count);
}

static void spawn(job_t *job) {
   posix_spawn_file_actions_t actions;
   posix_spawnattr_t          attributes;
   sigset_t                   all, none;
   int                        copies[MOST_DESCRIPTORS], copied = 0;
   sigfillset(&all);
   sigemptyset(&none);
   posix_spawn_file_actions_init(&actions);
   posix_spawnattr_init(&attributes);
   for (; copied < job->count; copied++)
      if ((copies[copied] = fcntl(job->descriptors[copied], F_DUPFD_CLOEXEC, 64)) < 0) break;
   job->error = copied < job->count ? errno : actions_of(job, copies, &actions);
   if (!job->error) job->error = posix_spawnattr_setsigdefault(&attributes, &all);
   if (!job->error) job->error = posix_spawnattr_setsigmask(&attributes, &none);
   if (!job->error)
      job->error = posix_spawnattr_setflags(
         &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
   if (!job->error)
      job->error = posix_spawn(&job->pid, job->path, &actions, &attributes, job->arguments, job->environment);
   while (copied) close(copies[--copied]);
   posix_spawnattr_destroy(&attributes);
   posix_spawn_file_actions_destroy(&actions);
}

static void *serve(void *unused) {
   pthread_mutex_lock(&lock);
   for (;;) {
      while (!waiting || waiting->done) pthread_cond_wait(&changed, &lock);
      job_t *job = waiting;
      pthread_mutex_unlock(&lock);
      spawn(job);
      pthread_mutex_lock(&lock);
      job->done = 1;
      waiting = NULL;
      pthread_cond_broadcast(&changed);
   }
   return unused;
}

int32_t knap_spawn(const char *path, char *const arguments[], char *const environment[], const int *descriptors,
                   int count, int output, int *pidfd) {
   job_t job = {.path = path, .arguments = arguments, .environment = environment, .descriptors = descriptors,
                .count = count, .output = output};
   if (count > MOST_DESCRIPTORS) {
      errno = EINVAL;
      return -1;
   }
   pthread_mutex_lock(&lock);
   if (!started) {
      pthread_t thread;
      int error = pthread_create(&thread, NULL, serve, NULL);
      if (error) {
         pthread_mutex_unlock(&lock);
         errno = error;
         return -1;
      }
      pthread_detach(thread);
      started = 1;
   }
   while (waiting) pthread_cond_wait(&changed, &lock);
   waiting = &job;
   pthread_cond_broadcast(&changed);
   while (!job.done) pthread_cond_wait(&changed, &lock);
   pthread_mutex_unlock(&lock);
   if (job.error) {
      errno = job.error;
      return -1;
   }
   *pidfd = knap_pidfd(job.pid);
   if (*pidfd >= 0) return job.pid;
   int error = errno;
   kill(job.pid, SIGKILL);
   waitpid(job.pid, NULL, 0);
   errno = error;
   return -1;
}

int32_t knap_reap(int pidfd) {
   siginfo_t info;
   int failed;
   memset(&info, 0, sizeof info);
   do failed = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
   while (failed && errno == EINTR);
   if (failed) return 0;
   return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

int knap_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int knap_doorbell(void) { return eventfd(0, EFD_CLOEXEC); }

int knap_socket_pair(int pair[2]) {
   if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return -1;
   struct timeval patience = {.tv_sec = 5};
   setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
   return 0;
}

typedef union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control_t;

int64_t knap_socket_send(int socket, const void *bytes, uint64_t size, int descriptor) {
   control_t control;
   struct iovec vector = {(void *)bytes, size};
   struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
   if (descriptor >= 0) {
      memset(&control, 0, sizeof control);
      message.msg_control = control.bytes;
      message.msg_controllen = sizeof control.bytes;
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      header->cmsg_len = CMSG_LEN(sizeof(int));
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
   }
   ssize_t sent;
   do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
   while (sent < 0 && errno == EINTR);
   return sent;
}

int64_t knap_socket_receive(int socket, void *bytes, uint64_t size, int *descriptor) {
   control_t control;
   struct iovec vector = {bytes, size};
   struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
   ssize_t received;
   *descriptor = -1;
   do received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
   while (received < 0 && errno == EINTR);
   struct cmsghdr *header = received > 0 ? CMSG_FIRSTHDR(&message) : NULL;
   if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
      memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
   return received;
}

int knap_watch_changes(int watch, const char *directory) {
   if (watch < 0) watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
   if (watch >= 0)
      inotify_add_watch(watch, directory, IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
   return watch;
}

int knap_pipe(int pipe[2]) {
   if (pipe2(pipe, O_CLOEXEC)) return -1;
   fcntl(pipe[0], F_SETFL, O_NONBLOCK);
   return 0;
}

int32_t knap_run_program(const char *directory, char *const arguments[]) {
   posix_spawn_file_actions_t actions;
   posix_spawn_file_actions_init(&actions);
   posix_spawn_file_actions_addchdir_np(&actions, directory);
   posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
   pid_t process;
   int failure = posix_spawnp(&process, arguments[0], &actions, NULL, arguments, environ);
   posix_spawn_file_actions_destroy(&actions);
   if (failure) return errno = failure, -1;
   int status;
   while (waitpid(process, &status, 0) < 0)
      if (errno != EINTR) return -1;
   return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
