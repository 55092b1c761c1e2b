// A plugin in C that goes wrong in every way that tests ask for: each method is one fault, or one attempt to get out of
// the sandbox. -DNAME and -DVERSION name it; -DHOOK_prepare=FAULT and the like make a hook go wrong.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <knap/knap.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef NAME
#define NAME "faults"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef SCHEMA
#define SCHEMA 1
#endif
#ifndef SERVICE
#define SERVICE "test." NAME
#endif

typedef struct {
   const knap_host_t *host;
   knap_call_t        held;
   long               count;
   knap_binding_t     other;
} instance_t;

static void answer(instance_t *self, knap_call_t call, const char *format, ...) {
   char text[512];
   va_list arguments;
   va_start(arguments, format);
   int size = vsnprintf(text, sizeof text, format, arguments);
   va_end(arguments);
   knap_result_t result = {.size = sizeof result, .body = {(const uint8_t *)text, (uint64_t)size}};
   self->host->calls->complete(self->host, call, &result);
}

// ## Faults

static void crash(void) { *(volatile int *)8 = 1; }
static void divide(void) { volatile int zero = 0; zero = 7 / zero; }
static void trap(void) { __builtin_trap(); }
static void deep(void) { volatile char frame[4096]; frame[0] = 1; deep(); frame[1] = frame[0]; }
static void leave(void) { exit(3); }
static void leave_well(void) { exit(0); }
static void spin(void) { for (volatile long i = 0;; i++); }
static void stop(void) { raise(SIGSTOP); }
static void hang(void) { for (;;) pause(); }
static void shut(void) { for (int descriptor = 0; descriptor < 1024; descriptor++) close(descriptor); }
static void leak(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
// The same where no limit of the process counts.
static void hoard(void) { for (;;) memset(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1, 1 << 20); }
static void ignore_signals(void) {
   for (int number = 1; number < 32; number++) signal(number, SIG_IGN);
   prctl(PR_SET_PDEATHSIG, 0);
   spin();
}
static void give_up(void) { abort(); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void nowhere(void) { ((void (*)(void))(uintptr_t)0)(); }
static void vanish(void) { _exit(4); }
// In a thread of its own, where the engine knows nothing of it.
static void *run_there(void *fault) { ((void (*)(void))fault)(); return NULL; }
static void elsewhere(void (*fault)(void)) {
   pthread_t other;
   pthread_create(&other, NULL, run_there, (void *)fault);
   pthread_join(other, NULL);
}
static void thread(void) { elsewhere(crash); }
static void thread_deep(void) { elsewhere(deep); }
static void thread_give_up(void) { elsewhere(give_up); }
// Creates processes and threads until it gets no more of either.
static void *rest(void *unused) { return pause(), unused; }
static void fork_bomb(void) {
   for (;;) {
      pthread_t other;
      pid_t child = fork();
      if (child == 0) fork_bomb();
      if (child < 0 && pthread_create(&other, NULL, rest, NULL)) hang();
   }
}

// ## Faults of the memory that it shares with the host

static uint64_t dice;
static uint64_t roll(void) {
   dice ^= dice << 13;
   dice ^= dice >> 7;
   return dice ^= dice << 17;
}
static unsigned char *shared_memory(size_t *size) {
   FILE *maps = fopen("/proc/self/maps", "r");
   char line[512];
   unsigned long from, to;
   while (maps && fgets(line, sizeof line, maps))
      if (strstr(line, "memfd:knap-link") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
         fclose(maps);
         *size = to - from;
         return (unsigned char *)from;
      }
   abort(); // a worker without it would take no calls
}
// Writes nonsense into it, as the seed says: everywhere, into its first pages or into single words, once or for ever.
static void garbage(uint64_t seed) {
   size_t size;
   unsigned char *memory = shared_memory(&size);
   dice = seed * 0x9e3779b97f4a7c15 | 1;
   int way = (int)(roll() % 4);
   for (long round = 0; round < (way % 2 ? 1 << 20 : 1); round++) {
      size_t part = way < 2 ? size : 2 * 4096;
      if (way == 0) {
         for (size_t at = 0; at < part; at += 8) *(volatile uint64_t *)(memory + at) = roll();
      } else {
         // Numbers that are nearly right get further than others.
         volatile uint64_t *word = (volatile uint64_t *)(memory + roll() % (part / 8) * 8);
         *word = roll() % 2 ? roll() : *word + roll() % 65 - 32;
      }
   }
   hang();
}
// Takes it away under the host: shorter, empty, with holes; then whatever else is open.
static void truncate_memory(void) {
   size_t size;
   unsigned char *memory = shared_memory(&size);
   char path[64];
   snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)memory, (unsigned long)memory + size);
   int descriptor = open(path, O_RDWR);
   for (int each = descriptor < 0 ? 0 : descriptor; each < 1024; each++) {
      ftruncate(each, 4096);
      ftruncate(each, 0);
      fallocate(each, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
   }
   madvise(memory, size, MADV_REMOVE);
   mprotect(memory, size, PROT_NONE);
   munmap(memory, size);
   hang();
}

#define FAULT(name) \
   static void name##_call(void *instance, const knap_request_t *request) { \
      (void)instance; (void)request; \
      name(); \
   }
FAULT(crash) FAULT(divide) FAULT(trap) FAULT(deep) FAULT(leave) FAULT(spin) FAULT(stop) FAULT(hang) FAULT(shut) FAULT(leak) FAULT(hoard)
FAULT(thread) FAULT(thread_deep) FAULT(thread_give_up) FAULT(give_up) FAULT(breakpoint) FAULT(nowhere) FAULT(ignore_signals) FAULT(vanish) FAULT(leave_well)
FAULT(fork_bomb) FAULT(truncate_memory)

// The body of these requests is a number.
static long number_in(const knap_request_t *request) {
   char text[32] = "";
   memcpy(text, request->body.data, request->body.size < sizeof text - 1 ? request->body.size : sizeof text - 1);
   return atol(text);
}
static void garbage_call(void *instance, const knap_request_t *request) {
   (void)instance;
   garbage((uint64_t)number_in(request));
}
static void raise_call(void *instance, const knap_request_t *request) {
   (void)instance;
   raise((int)number_in(request));
}
// Hears no signal from here on, and is not to die with its host.
static void deafen(void *instance, const knap_request_t *request) {
   for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
   prctl(PR_SET_PDEATHSIG, 0);
   syscall(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
   answer(instance, request->call, "null");
}

// ## Misuse of calls

static void echo(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   knap_result_t result = {.size = sizeof result, .body = request->body};
   self->host->calls->complete(self->host, request->call, &result);
}
static void version(void *instance, const knap_request_t *request) { answer(instance, request->call, "\"" VERSION "\""); }
static void pid(void *instance, const knap_request_t *request) { answer(instance, request->call, "%d", (int)getpid()); }
static void add(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   answer(self, request->call, "%ld", __atomic_add_fetch(&self->count, 1, __ATOMIC_SEQ_CST));
}
static void slow(void *instance, const knap_request_t *request) {
   usleep(300000);
   answer(instance, request->call, "\"slow\"");
}
static void nap(void *instance, const knap_request_t *request) {
   usleep(3000000);
   answer(instance, request->call, "\"rested\"");
}
static void add_text(void *context, knap_bytes_t piece) { strncat(context, (const char *)piece.data, piece.size); }
// Answers once there is a file `go` in the plugin's state directory.
static void patient(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   const knap_host_state_directory_t *directory = self->host->extension(self->host, KNAP_EXT_STATE_DIRECTORY);
   char path[1024] = "";
   directory->path(self->host, &(knap_writer_t){path, add_text});
   strcat(path, "/go");
   while (access(path, F_OK)) usleep(2000);
   answer(instance, request->call, "\"patient\"");
}
static void twice(void *instance, const knap_request_t *request) {
   answer(instance, request->call, "1");
   answer(instance, request->call, "2");
}
static void never(void *instance, const knap_request_t *request) { ((instance_t *)instance)->held = request->call; }
static void late(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   knap_status_t status = self->host->calls->complete(self->host, self->held, NULL);
   answer(self, request->call, status == KNAP_CANCELLED ? "\"dropped\"" : "\"taken\"");
}
static void huge(void *instance, const knap_request_t *request) {
   instance_t *self = instance;
   uint64_t size = 100ull << 20;
   knap_result_t result = {.size = sizeof result, .body = {calloc(1, size), size}};
   self->host->calls->complete(self->host, request->call, &result);
   free((void *)result.body.data);
}
static void pass_on_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   instance_t *self = ((void **)context)[0];
   self->host->calls->complete(self->host, (knap_call_t)(uintptr_t)((void **)context)[1], result);
   free(context);
}
// The answer of the other plugin, with this one's version before it.
static void pair_done(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   instance_t *self = ((void **)context)[0];
   knap_call_t own = (knap_call_t)(uintptr_t)((void **)context)[1];
   free(context);
   if (result->status != KNAP_OK) self->host->calls->complete(self->host, own, result);
   else answer(self, own, "\"%s %.*s\"", VERSION, (int)result->body.size - 2, (const char *)result->body.data + 1);
}
static void no_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void no_credit(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_caller_t passing = {sizeof passing, 0, pass_on_done, no_item, no_credit};
static const knap_caller_t pairing = {sizeof pairing, 0, pair_done, no_item, no_credit};
// Calls the method of another plugin that it was compiled for.
static void ask_other(void *instance, const knap_request_t *request, knap_bytes_t body, const knap_caller_t *caller) {
   instance_t *self = instance;
   (void)caller, (void)body;
#ifdef OTHER
   const knap_host_services_t *services = self->host->extension(self->host, KNAP_EXT_SERVICES);
   if (!self->other) services->bind(self->host, (knap_text_t){OTHER, strlen(OTHER)}, (knap_text_t){"", 0}, &self->other);
   void **context = malloc(2 * sizeof *context);
   context[0] = self;
   context[1] = (void *)(uintptr_t)request->call;
   knap_outgoing_t outgoing = {.size = sizeof outgoing, .parent = request->call, .body = body, .caller = caller,
                               .context = context};
   knap_status_t status = services->call(self->host, self->other, &outgoing, NULL);
   if (status != KNAP_OK) answer(self, request->call, "\"refused %d\"", status);
#else
   answer(self, request->call, "null");
#endif
}

// More than a call may carry, to another plugin.
static void ask_huge(void *instance, const knap_request_t *request) {
   uint64_t size = 100ull << 20;
   uint8_t *body = calloc(1, size);
   ask_other(instance, request, (knap_bytes_t){body, size}, &passing);
   free(body);
}
static void pass_on(void *instance, const knap_request_t *request) { ask_other(instance, request, request->body, &passing); }
static void pair(void *instance, const knap_request_t *request) { ask_other(instance, request, request->body, &pairing); }

// ## Ways out of the sandbox: each answers "refused" or what it got

static void outcome(void *instance, const knap_request_t *request, long result) {
   if (result < 0) answer(instance, request->call, "\"refused: %s\"", strerrorname_np(errno) ? strerrorname_np(errno) : "?");
   else answer(instance, request->call, "\"got %ld\"", result);
}
// The body of these requests is {"path": "...", "pid": N, "port": N}.
static void text_of(const knap_request_t *request, const char *key, char *out, size_t size) {
   char body[1024] = "", wanted[32];
   memcpy(body, request->body.data, request->body.size < sizeof body - 1 ? request->body.size : sizeof body - 1);
   snprintf(wanted, sizeof wanted, "\"%s\":", key);
   const char *at = strstr(body, wanted);
   *out = 0;
   if (!at) return;
   at += strlen(wanted);
   while (*at == ' ' || *at == '"') at++;
   while (*at && *at != '"' && *at != ',' && *at != '}' && size > 1) *out++ = *at++, size--;
   *out = 0;
}
static int number_of(const knap_request_t *request, const char *key) {
   char text[32];
   text_of(request, key, text, sizeof text);
   return atoi(text);
}
#define ESCAPE(name) static void name(void *instance, const knap_request_t *request)
ESCAPE(read_file) {
   char path[512];
   text_of(request, "path", path, sizeof path);
   outcome(instance, request, open(path, O_RDONLY | O_CLOEXEC));
}
ESCAPE(write_file) {
   char path[512];
   text_of(request, "path", path, sizeof path);
   outcome(instance, request, open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}
ESCAPE(remove_file) {
   char path[512];
   text_of(request, "path", path, sizeof path);
   outcome(instance, request, unlink(path));
}
static long connect_by(int family, int type, int protocol, int port) {
   int descriptor = socket(family, type, protocol);
   struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
   return descriptor < 0 ? -1 : connect(descriptor, (struct sockaddr *)&address, sizeof address);
}
ESCAPE(connect_tcp) { outcome(instance, request, connect_by(AF_INET, SOCK_STREAM, 0, number_of(request, "port"))); }
ESCAPE(connect_udp) { outcome(instance, request, connect_by(AF_INET, SOCK_DGRAM, 0, number_of(request, "port"))); }
ESCAPE(connect_mptcp) { outcome(instance, request, connect_by(AF_INET, SOCK_STREAM, 262, number_of(request, "port"))); }
ESCAPE(connect_fast_open) {
   int descriptor = socket(AF_INET, SOCK_STREAM, 0);
   struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number_of(request, "port")),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
   outcome(instance, request,
           descriptor < 0 ? -1 : sendto(descriptor, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}
ESCAPE(connect_unix) {
   struct sockaddr_un address = {.sun_family = AF_UNIX};
   text_of(request, "path", address.sun_path, sizeof address.sun_path);
   int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
   outcome(instance, request, descriptor < 0 ? -1 : connect(descriptor, (struct sockaddr *)&address, sizeof address));
}
ESCAPE(send_datagram) {
   int pair[2];
   struct sockaddr_un address = {.sun_family = AF_UNIX};
   text_of(request, "path", address.sun_path, sizeof address.sun_path);
   outcome(instance, request, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)
                                 ? -1 : sendto(pair[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}
ESCAPE(listen_tcp) {
   int descriptor = socket(AF_INET, SOCK_STREAM, 0);
   struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number_of(request, "port"))};
   outcome(instance, request, descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address)
                                 ? -1 : listen(descriptor, 1));
}
ESCAPE(netlink) { outcome(instance, request, socket(AF_NETLINK, SOCK_RAW, 0)); }
ESCAPE(raw) { outcome(instance, request, socket(AF_INET, SOCK_RAW, 1)); }
ESCAPE(fork_itself) {
   pid_t child = fork();
   if (child == 0) _exit(0);
   outcome(instance, request, child);
}
ESCAPE(fork_by_clone) {
   long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
   if (child == 0) _exit(0);
   outcome(instance, request, child);
}
ESCAPE(execute) { outcome(instance, request, execl("/bin/true", "true", (char *)0)); }
ESCAPE(trace) { outcome(instance, request, ptrace(PTRACE_ATTACH, number_of(request, "pid"), 0, 0)); }
ESCAPE(signal_host) { outcome(instance, request, kill(number_of(request, "pid"), SIGTERM)); }
ESCAPE(limit_host) {
   struct rlimit limit = {3, 3};
   outcome(instance, request, prlimit(number_of(request, "pid"), RLIMIT_NOFILE, &limit, NULL));
}
ESCAPE(slow_host) { outcome(instance, request, setpriority(PRIO_PROCESS, (id_t)number_of(request, "pid"), 19)); }
ESCAPE(pin_host) {
   cpu_set_t one;
   CPU_ZERO(&one);
   CPU_SET(0, &one);
   outcome(instance, request, sched_setaffinity(number_of(request, "pid"), sizeof one, &one));
}
ESCAPE(open_pid) { outcome(instance, request, syscall(SYS_pidfd_open, number_of(request, "pid"), 0)); }
ESCAPE(outlive_host) { outcome(instance, request, prctl(PR_SET_PDEATHSIG, 0)); }
ESCAPE(map_memory) { outcome(instance, request, syscall(SYS_memfd_create, "x", 0)); }
ESCAPE(uring) { outcome(instance, request, syscall(SYS_io_uring_setup, 1, NULL)); }
ESCAPE(mount_it) { outcome(instance, request, syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, 0)); }
ESCAPE(user_namespace) { outcome(instance, request, unshare(CLONE_NEWUSER)); }
ESCAPE(fork_by_vfork) {
   long child = syscall(SYS_vfork);
   if (child == 0) _exit(0);
   outcome(instance, request, child);
}
ESCAPE(fork_by_clone3) {
   uint64_t arguments[11] = {[4] = SIGCHLD};
   long child = syscall(SYS_clone3, arguments, sizeof arguments);
   if (child == 0) _exit(0);
   outcome(instance, request, child);
}
ESCAPE(execute_descriptor) {
   int program = open("/lib64/ld-linux-x86-64.so.2", O_RDONLY);
   char *const arguments[] = {"ld.so", "--help", NULL}, *const environment[] = {NULL};
   outcome(instance, request, syscall(SYS_execveat, program, "", arguments, environment, AT_EMPTY_PATH));
}
ESCAPE(schedule_host) {
   struct sched_param idle = {0};
   outcome(instance, request, sched_setscheduler(number_of(request, "pid"), SCHED_IDLE, &idle));
}
ESCAPE(delay_host) { outcome(instance, request, syscall(SYS_ioprio_set, 1, number_of(request, "pid"), 3 << 13)); }
ESCAPE(read_memory) {
   char here[8];
   struct iovec to = {here, sizeof here}, from = {(void *)&request, sizeof here};
   outcome(instance, request, process_vm_readv(number_of(request, "pid"), &to, 1, &from, 1, 0));
}
ESCAPE(write_memory) {
   char here[8] = "escape";
   struct iovec from = {here, sizeof here}, to = {(void *)&request, sizeof here};
   outcome(instance, request, process_vm_writev(number_of(request, "pid"), &from, 1, &to, 1, 0));
}
ESCAPE(take_descriptor) { outcome(instance, request, syscall(SYS_pidfd_getfd, 3, 0, 0)); }
ESCAPE(signal_thread) { outcome(instance, request, syscall(SYS_tkill, number_of(request, "pid"), SIGTERM)); }
ESCAPE(signal_group) { outcome(instance, request, kill(-1, SIGTERM)); }
ESCAPE(signal_queue) {
   siginfo_t info = {.si_signo = SIGTERM, .si_code = SI_QUEUE};
   outcome(instance, request, syscall(SYS_rt_sigqueueinfo, number_of(request, "pid"), SIGTERM, &info));
}
ESCAPE(filter) { outcome(instance, request, syscall(SYS_bpf, 0, NULL, 0)); }
ESCAPE(fault_in_user_space) { outcome(instance, request, syscall(SYS_userfaultfd, 0)); }
ESCAPE(count_events) { outcome(instance, request, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
ESCAPE(keys) { outcome(instance, request, syscall(SYS_keyctl, 0, -3, 1)); }
ESCAPE(add_a_key) { outcome(instance, request, syscall(SYS_add_key, "user", "x", "x", 1, -3)); }
ESCAPE(open_by_handle) { outcome(instance, request, syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0)); }
ESCAPE(name_to_handle) {
   struct { unsigned bytes; int type; char handle[128]; } handle = {128};
   int mount;
   outcome(instance, request, syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &handle, &mount, 0));
}
ESCAPE(change_root) { outcome(instance, request, chroot("/proc")); }
ESCAPE(pivot) { outcome(instance, request, syscall(SYS_pivot_root, "/", "/")); }
ESCAPE(unmount) { outcome(instance, request, syscall(SYS_umount2, "/tmp", 0)); }
ESCAPE(new_mount) { outcome(instance, request, syscall(SYS_fsopen, "tmpfs", 0)); }
ESCAPE(join_namespace) { outcome(instance, request, setns(0, 0)); }
ESCAPE(become_root) { outcome(instance, request, setresuid(0, 0, 0)); }
ESCAPE(own_a_file) {
   char path[512];
   text_of(request, "path", path, sizeof path);
   outcome(instance, request, chown(path, 0, 0));
}
ESCAPE(type_into_terminal) {
   char letter = 'x';
   int terminal = open("/dev/tty", O_RDWR);
   for (int descriptor = 0; terminal < 0 && descriptor < 3; descriptor++)
      if (!ioctl(descriptor, TIOCSTI, &letter)) terminal = descriptor;
   outcome(instance, request, terminal);
}
ESCAPE(connect_abstract) {
   struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0knap-test"};
   int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
   outcome(instance, request, descriptor < 0 ? -1 : connect(descriptor, (struct sockaddr *)&address, sizeof(sa_family_t) + 10));
}
ESCAPE(connect_pair) { // a socket that it has already
   int pair[2];
   struct sockaddr_un address = {.sun_family = AF_UNIX};
   text_of(request, "path", address.sun_path, sizeof address.sun_path);
   outcome(instance, request, socketpair(AF_UNIX, SOCK_STREAM, 0, pair)
                                 ? -1 : connect(pair[0], (struct sockaddr *)&address, sizeof address));
}
ESCAPE(packet) { outcome(instance, request, socket(AF_PACKET, SOCK_RAW, 0)); }
ESCAPE(virtual_machine) { outcome(instance, request, socket(AF_VSOCK, SOCK_STREAM, 0)); }
ESCAPE(make_device) { outcome(instance, request, syscall(SYS_mknod, "/tmp/knap-device", S_IFCHR | 0600, 1 << 8 | 1)); }
ESCAPE(unfiltered) { outcome(instance, request, prctl(PR_SET_SECCOMP, 0)); }
ESCAPE(be_dumped) { outcome(instance, request, prctl(PR_SET_DUMPABLE, 1)); }
ESCAPE(more_memory) {
   struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
   outcome(instance, request, setrlimit(RLIMIT_DATA, &limit));
}
ESCAPE(more_memory_again) {
   struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
   outcome(instance, request, prlimit(0, RLIMIT_DATA, &limit, NULL));
}
ESCAPE(set_time) { outcome(instance, request, syscall(SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){0, 0})); }
ESCAPE(restart_machine) { outcome(instance, request, syscall(SYS_reboot, 0, 0, 0, 0)); } // without its magic numbers
// A program that gives whoever runs it this process's user.
ESCAPE(lend_user) {
   char path[512], file[600];
   text_of(request, "directory", path, sizeof path);
   snprintf(file, sizeof file, "%s/lent", path);
   int descriptor = open(file, O_RDWR | O_CREAT, 04755);
   if (descriptor < 0) descriptor = open(file, O_RDWR | O_CREAT, 0600);
   struct stat status = {0};
   int changed = fchmod(descriptor, 04755);
   if (changed) changed = chmod(file, 06755);
   int number = errno;
   fstat(descriptor, &status);
   errno = number;
   outcome(instance, request, status.st_mode & (S_ISUID | S_ISGID) ? 0 : changed);
}

// ## Code that takes its time

static void dawdle(void *instance, const knap_request_t *request) {
   usleep(60000);
   answer(instance, request->call, "\"dawdled\"");
}

// What must work: a thread, memory, time, its own directory.
static void *be(void *unused) { return unused; }
ESCAPE(live) {
   instance_t *self = instance;
   pthread_t thread;
   int failed = pthread_create(&thread, NULL, be, NULL);
   if (!failed) pthread_join(thread, NULL);
   char path[512];
   text_of(request, "path", path, sizeof path);
   strcat(path, "/file");
   int descriptor = open(path, O_RDWR | O_CREAT, 0600);
   int written = descriptor >= 0 && write(descriptor, "x", 1) == 1 && fsync(descriptor) == 0 && unlink(path) == 0;
   void *memory = malloc(64 << 20);
   answer(self, request->call, "\"%s %s %s\"", failed ? "no thread" : "thread", written ? "file" : "no file",
          memory ? "memory" : "no memory");
   free(memory);
}

// ## The table

#define METHODS(X) \
   X(echo, echo) X(version, version) X(pid, pid) X(add, add) X(slow, slow) X(patient, patient) X(nap, nap) X(twice, twice) X(never, never) X(late, late) \
   X(huge, huge) X(pass_on, pass_on) X(pair, pair) X(crash, crash_call) X(divide, divide_call) X(trap, trap_call) X(deep, deep_call) \
   X(leave, leave_call) X(spin, spin_call) X(stop, stop_call) X(hang, hang_call) X(shut, shut_call) X(leak, leak_call) X(hoard, hoard_call) \
   X(thread, thread_call) X(thread_deep, thread_deep_call) X(thread_give_up, thread_give_up_call) \
   X(give_up, give_up_call) X(breakpoint, breakpoint_call) X(nowhere, nowhere_call) X(ignore_signals, ignore_signals_call) \
   X(vanish, vanish_call) X(leave_well, leave_well_call) X(fork_bomb, fork_bomb_call) X(truncate_memory, truncate_memory_call) X(garbage, garbage_call) X(raise, raise_call) \
   X(deafen, deafen) X(ask_huge, ask_huge) X(read_file, read_file) \
   X(write_file, write_file) X(remove_file, remove_file) X(connect_tcp, connect_tcp) X(connect_udp, connect_udp) \
   X(connect_mptcp, connect_mptcp) X(connect_fast_open, connect_fast_open) X(connect_unix, connect_unix) \
   X(send_datagram, send_datagram) X(listen_tcp, listen_tcp) X(netlink, netlink) X(raw, raw) X(fork_itself, fork_itself) \
   X(fork_by_clone, fork_by_clone) X(execute, execute) X(trace, trace) X(signal_host, signal_host) \
   X(limit_host, limit_host) X(slow_host, slow_host) X(pin_host, pin_host) X(open_pid, open_pid) \
   X(outlive_host, outlive_host) X(map_memory, map_memory) X(uring, uring) X(mount_it, mount_it) \
   X(user_namespace, user_namespace) \
   X(fork_by_vfork, fork_by_vfork) X(fork_by_clone3, fork_by_clone3) X(execute_descriptor, execute_descriptor) \
   X(schedule_host, schedule_host) X(delay_host, delay_host) X(read_memory, read_memory) X(write_memory, write_memory) \
   X(take_descriptor, take_descriptor) X(signal_thread, signal_thread) X(signal_group, signal_group) \
   X(signal_queue, signal_queue) X(filter, filter) X(fault_in_user_space, fault_in_user_space) X(count_events, count_events) \
   X(keys, keys) X(add_a_key, add_a_key) X(open_by_handle, open_by_handle) X(name_to_handle, name_to_handle) \
   X(change_root, change_root) X(pivot, pivot) X(unmount, unmount) X(new_mount, new_mount) X(join_namespace, join_namespace) \
   X(become_root, become_root) X(own_a_file, own_a_file) X(type_into_terminal, type_into_terminal) \
   X(connect_abstract, connect_abstract) X(connect_pair, connect_pair) X(packet, packet) X(virtual_machine, virtual_machine) \
   X(make_device, make_device) X(unfiltered, unfiltered) X(be_dumped, be_dumped) X(more_memory, more_memory) \
   X(more_memory_again, more_memory_again) X(set_time, set_time) X(restart_machine, restart_machine) X(lend_user, lend_user) \
   X(dawdle, dawdle) X(linger, patient) X(live, live)

#define TABLE(name, function) static const knap_method_t method_##name = {sizeof(knap_method_t), 0, SERVICE "." #name, function};
METHODS(TABLE)
#define POINTER(name, function) &method_##name,
static const knap_method_t *const methods[] = {METHODS(POINTER)};

#ifdef HOOK_constructor
__attribute__((constructor)) static void construct(void) { HOOK_constructor(); }
#endif

static void done(instance_t *self, knap_call_t call) { self->host->calls->complete(self->host, call, NULL); }

static knap_status_t create(const knap_host_t *host, void **instance) {
#ifdef HOOK_create
   HOOK_create();
#endif
   instance_t *self = calloc(1, sizeof *self);
   self->host = host;
   *instance = self;
   return KNAP_OK;
}
static void prepare(void *instance, knap_call_t call) {
#ifdef ONLY_IN_WORKERS
   instance_t *self = instance;
   knap_result_t refusal = {.size = sizeof refusal, .status = KNAP_FAILED_PRECONDITION, .message = {"only in workers", 15}};
   if (strcmp(program_invocation_short_name, "knap-worker")) return self->host->calls->complete(self->host, call, &refusal);
#endif
#ifdef HOOK_prepare
   HOOK_prepare();
#endif
   done(instance, call);
}
static void activate(void *instance, knap_call_t call) {
#ifdef HOOK_activate
   HOOK_activate();
#endif
   done(instance, call);
}
static void suspend(void *instance, knap_call_t call) {
#ifdef HOOK_suspend
   HOOK_suspend();
#endif
   done(instance, call);
}
static void destroy(void *instance) {
#ifdef HOOK_destroy
   HOOK_destroy();
#endif
   free(instance);
}

static knap_status_t save(void *instance, const knap_writer_t *out) {
#ifdef HOOK_save
   HOOK_save();
#endif
   out->write(out->context, (knap_bytes_t){(const uint8_t *)&((instance_t *)instance)->count, sizeof(long)});
   return KNAP_OK;
}
static knap_status_t load(void *instance, uint32_t schema, knap_bytes_t state) {
#ifdef HOOK_load
   HOOK_load();
#endif
   if (schema != SCHEMA || state.size != sizeof(long)) return KNAP_FAILED_PRECONDITION;
   memcpy(&((instance_t *)instance)->count, state.data, sizeof(long));
   return KNAP_OK;
}
static const knap_plugin_state_t state = {sizeof state, SCHEMA, save, load};
// Unhealthy while there is a file `sick` in the plugin's state directory.
static int32_t check(void *instance, const knap_writer_t *out) {
   instance_t *self = instance;
   const knap_host_state_directory_t *directory = self->host->extension(self->host, KNAP_EXT_STATE_DIRECTORY);
   char path[1024] = "";
   directory->path(self->host, &(knap_writer_t){path, add_text});
   strcat(path, "/sick");
   if (!access(path, F_OK)) {
      out->write(out->context, (knap_bytes_t){(const uint8_t *)"{\"ails\":\"fever\"}", 16});
      return KNAP_UNHEALTHY;
   }
   out->write(out->context, (knap_bytes_t){(const uint8_t *)"{}", 2});
#ifdef HOOK_health
   HOOK_health();
#endif
   return KNAP_HEALTHY;
}
static void committed(void *instance, knap_call_t call) {
#ifdef HOOK_committed
   HOOK_committed();
#endif
   done(instance, call);
}
static void drain(void *instance, uint64_t deadline_ns) {
   (void)instance, (void)deadline_ns;
#ifdef HOOK_drain
   HOOK_drain();
#endif
}
static void serve_on(void *instance) { (void)instance; }
static const knap_plugin_health_t health = {sizeof health, 0, check};
static const knap_plugin_committed_t committing = {sizeof committing, 0, committed};
static const knap_plugin_drain_t draining = {sizeof draining, 0, drain, serve_on};
static const void *extension(void *instance, const char *id) {
   (void)instance;
   if (!strcmp(id, KNAP_EXT_HEALTH)) return &health;
   if (!strcmp(id, KNAP_EXT_COMMITTED)) return &committing;
   if (!strcmp(id, KNAP_EXT_DRAIN)) return &draining;
   return strcmp(id, KNAP_EXT_STATE) ? NULL : (const void *)&state;
}

KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) {
   static const knap_plugin_t plugin = {
      sizeof(knap_plugin_t), sizeof methods / sizeof *methods, NAME, VERSION, methods, create, prepare, activate, suspend,
      destroy, extension,
   };
   return &plugin;
}
