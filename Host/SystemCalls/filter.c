#include "knap_system_calls.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

// The system calls that a plugin may make. Whatever is not named here does not exist for it (ENOSYS), so that libraries
// fall back as on an older kernel: glibc from clone3 to clone, say. Files are Landlock's business; what is listed here
// works on descriptors, memory, threads and time, and on this process alone.

#define CALL(name) SCMP_SYS(name)

static const int allowed[] = {
   // files, which Landlock restricts
   CALL(close), CALL(close_range), CALL(read), CALL(write), CALL(readv), CALL(writev),
   CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(lseek), CALL(stat), CALL(fstat), CALL(lstat),
   CALL(newfstatat), CALL(statx), CALL(statfs), CALL(fstatfs), CALL(access), CALL(faccessat), CALL(faccessat2),
   CALL(readlink), CALL(readlinkat), CALL(getdents64), CALL(getcwd), CALL(fsync), CALL(fdatasync), CALL(syncfs),
   CALL(sync_file_range),
   CALL(ftruncate), CALL(truncate), CALL(fallocate), CALL(fadvise64), CALL(rename), CALL(renameat), CALL(renameat2),
   CALL(unlink), CALL(unlinkat), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(link), CALL(linkat), CALL(symlink),
   CALL(symlinkat), CALL(utimensat), CALL(flock), CALL(fcntl), CALL(umask),
   CALL(copy_file_range), CALL(sendfile), CALL(dup), CALL(dup2), CALL(dup3), CALL(pipe), CALL(pipe2), CALL(inotify_init1),
   CALL(inotify_add_watch), CALL(inotify_rm_watch), CALL(ioctl),
   // memory
   CALL(mmap), CALL(munmap), CALL(mprotect), CALL(mremap), CALL(madvise), CALL(brk), CALL(msync), CALL(mincore),
   CALL(mlock), CALL(munlock), CALL(membarrier),
   // threads and signals of this process
   CALL(futex), CALL(futex_waitv), CALL(set_robust_list), CALL(get_robust_list), CALL(set_tid_address), CALL(rseq),
   CALL(sched_yield), CALL(sched_getaffinity), CALL(sched_getparam), CALL(sched_getscheduler),
   CALL(sched_get_priority_max), CALL(sched_get_priority_min), CALL(gettid), CALL(getpid), CALL(getppid), CALL(exit),
   CALL(exit_group), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigpending),
   CALL(rt_sigtimedwait), CALL(rt_sigsuspend), CALL(sigaltstack), CALL(restart_syscall), CALL(signalfd4), CALL(wait4),
   CALL(waitid), CALL(arch_prctl), CALL(getcpu),
   // time
   CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time),
   CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime), CALL(timer_create), CALL(timer_settime),
   CALL(timer_delete),
   // waiting
   CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait),
   CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2),
   // sockets that it holds: the host's, and those that it was given
   CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(shutdown), CALL(getsockname), CALL(getpeername),
   CALL(getsockopt), CALL(setsockopt),
   // who and where it is
   CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getgroups), CALL(uname), CALL(sysinfo), CALL(times),
   CALL(getrusage), CALL(getrandom), CALL(getrlimit),
};

// Plainer than "no such call", because no library asks for these by the way.
static const int forbidden[] = {
   CALL(execve), CALL(execveat), CALL(fork), CALL(vfork), CALL(ptrace), CALL(process_vm_writev),
   CALL(connect), CALL(mount), CALL(umount2), CALL(chroot), CALL(pivot_root), CALL(unshare), CALL(setns), CALL(bpf),
   CALL(setuid), CALL(setgid), CALL(setresuid), CALL(setresgid), CALL(chown), CALL(fchown), CALL(lchown), CALL(fchownat),
   CALL(setpriority), CALL(pidfd_open), CALL(pidfd_getfd), CALL(pidfd_send_signal), CALL(rt_sigqueueinfo),
   CALL(rt_tgsigqueueinfo), CALL(kcmp), CALL(setrlimit), CALL(setsid), CALL(setpgid),
};

// Stands for the worker's own number while the filter is made: no process can have it (pid_max is at most 2^22), and none of
// the values below is the same.
enum { SELF = 0x6b6e6170 };

static int add_each(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count) {
   for (size_t i = 0; i < count; i++) {
      int failed = seccomp_rule_add(filter, action, calls[i], 0);
      if (failed && failed != -EDOM) return failed; // EDOM: this architecture has no such call
   }
   return 0;
}

#define IS(argument, value) SCMP_CMP64(argument, SCMP_CMP_EQ, (uint64_t)(value), 0)
#define IS_NOT(argument, value) SCMP_CMP64(argument, SCMP_CMP_NE, (uint64_t)(value), 0)
#define MASKED(argument, mask, value) SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, value)
#define ADD(action, call, ...) \
   do { int failed = seccomp_rule_add(filter, action, SCMP_SYS(call), __VA_ARGS__); if (failed) return failed; } while (0)

// Calls that are fine for this process or for some arguments only.
static int add_conditional(scmp_filter_ctx filter, bool may_listen) {
   uint32_t not_permitted = SCMP_ACT_ERRNO(EPERM), denied = SCMP_ACT_ERRNO(EACCES);
   // Threads, not processes.
   ADD(SCMP_ACT_ALLOW, clone, 1, MASKED(0, CLONE_THREAD, CLONE_THREAD));
   ADD(not_permitted, clone, 1, MASKED(0, CLONE_THREAD, 0));
   // Signals to itself.
   ADD(SCMP_ACT_ALLOW, kill, 1, IS(0, SELF));
   ADD(not_permitted, kill, 1, IS_NOT(0, SELF));
   ADD(SCMP_ACT_ALLOW, tgkill, 1, IS(0, SELF));
   ADD(not_permitted, tgkill, 1, IS_NOT(0, SELF));
   // Files, but none that gives whoever runs it this process's user.
   enum { SET_ID = S_ISUID | S_ISGID };
   ADD(SCMP_ACT_ALLOW, open, 1, MASKED(2, SET_ID, 0));
   ADD(SCMP_ACT_ALLOW, openat, 1, MASKED(3, SET_ID, 0));
   ADD(SCMP_ACT_ALLOW, chmod, 1, MASKED(1, SET_ID, 0));
   ADD(SCMP_ACT_ALLOW, fchmod, 1, MASKED(1, SET_ID, 0));
   ADD(SCMP_ACT_ALLOW, fchmodat, 1, MASKED(2, SET_ID, 0));
   // Its own memory, which the black box reads where it may not be there.
   ADD(SCMP_ACT_ALLOW, process_vm_readv, 1, IS(0, SELF));
   ADD(not_permitted, process_vm_readv, 1, IS_NOT(0, SELF));
   // Limits of itself may be read; raising them is impossible anyway, lowering its own business.
   ADD(SCMP_ACT_ALLOW, prlimit64, 1, IS(0, 0));
   ADD(not_permitted, prlimit64, 1, IS_NOT(0, 0));
   ADD(SCMP_ACT_ALLOW, sched_setscheduler, 1, IS(0, 0));
   ADD(SCMP_ACT_ALLOW, sched_setaffinity, 1, IS(0, 0));
   ADD(SCMP_ACT_ALLOW, sched_setparam, 1, IS(0, 0));
   // Names of threads and the like; not the signal at the host's death, nor seccomp, nor dumpability.
   static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_PDEATHSIG, PR_GET_NO_NEW_PRIVS,
                                 PR_CAPBSET_READ, PR_GET_SECCOMP, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK, 0x53564d41 /* VMA */};
   for (size_t i = 0; i < sizeof options / sizeof *options; i++)
      ADD(SCMP_ACT_ALLOW, prctl, 1, IS(0, (uint64_t)options[i]));
   // Sockets: a pair of its own always; others only to listen, and then TCP proper (not MPTCP).
   // Not of datagrams: those can be sent to any socket with a path.
   ADD(SCMP_ACT_ALLOW, socketpair, 2, IS(0, AF_UNIX), MASKED(1, 0xf, SOCK_STREAM));
   ADD(SCMP_ACT_ALLOW, socketpair, 2, IS(0, AF_UNIX), MASKED(1, 0xf, SOCK_SEQPACKET));
   if (may_listen) {
      for (int family = 0; family < 2; family++)
         for (int protocol = 0; protocol <= 6; protocol += 6)
            ADD(SCMP_ACT_ALLOW, socket, 3, IS(0, family ? AF_INET6 : AF_INET),
                MASKED(1, 0xf, SOCK_STREAM), IS(2, (uint64_t)protocol));
      ADD(SCMP_ACT_ALLOW, bind, 0);
      ADD(SCMP_ACT_ALLOW, listen, 0);
   } else {
      ADD(denied, socket, 0);
      ADD(denied, bind, 0);
      ADD(denied, listen, 0);
   }
   ADD(SCMP_ACT_ALLOW, accept4, 0);
   ADD(SCMP_ACT_ALLOW, accept, 0);
   // Sending may not connect: neither by TCP fast open nor to an address of its choice.
   ADD(SCMP_ACT_ALLOW, sendto, 2, MASKED(3, MSG_FASTOPEN, 0), IS(4, 0));
   ADD(SCMP_ACT_ALLOW, sendmsg, 1, MASKED(2, MSG_FASTOPEN, 0));
   return 0;
}

// Its instructions, which libseccomp writes to a file only.
static int64_t export(scmp_filter_ctx filter, void *code) {
   int file = memfd_create("knap-call-filter", MFD_CLOEXEC);
   if (file < 0) return -errno;
   int64_t size = seccomp_export_bpf(filter, file);
   if (!size && (size = lseek(file, 0, SEEK_END)) > KNAP_CALL_FILTER_BYTES) size = -E2BIG;
   if (size > 0 && pread(file, code, (size_t)size, 0) != size) size = -EIO;
   close(file);
   return size;
}

static int64_t make(bool may_listen, void *code) {
   scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
   if (!filter) return -ENOMEM;
   int failed = add_each(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed);
   if (!failed) failed = add_each(filter, SCMP_ACT_ERRNO(EPERM), forbidden, sizeof forbidden / sizeof *forbidden);
   if (!failed) failed = add_conditional(filter, may_listen);
   // The fewer comparisons on the way, the cheaper every futex call.
   if (!failed) seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
   int64_t size = failed ? failed : export(filter, code);
   seccomp_release(filter);
   return size;
}

// Made when the first worker starts that needs it; what failed is tried again.
static struct {
   int64_t            size;
   struct sock_filter code[KNAP_CALL_FILTER_BYTES / sizeof(struct sock_filter)];
} made[2];
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

int64_t knap_call_filter(pid_t worker, int may_listen, void *code) {
   int kind = may_listen ? 1 : 0;
   pthread_mutex_lock(&making);
   if (made[kind].size <= 0) made[kind].size = make(may_listen, made[kind].code);
   int64_t size = made[kind].size;
   if (size > 0) memcpy(code, made[kind].code, (size_t)size);
   pthread_mutex_unlock(&making);
   struct sock_filter *each = code;
   for (int64_t i = 0; i < size / (int64_t)sizeof *each; i++)
      if (each[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && each[i].k == SELF) each[i].k = (uint32_t)worker;
   return size;
}
