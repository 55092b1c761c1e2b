#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// What the process gives up before any code of the plugin runs: the host's user, new privileges, capabilities, files and ports that were
// not granted (Landlock), and system calls that no plugin needs (Host/SystemCalls). Each layer closes what the others leave
// open. What the kernel cannot do is reported, and is an error where the operator demands it.

static char **get_texts(text_buffer_t *buffer, uint32_t *count) {
   *count = get_u32(buffer);
   char **texts = calloc(*count + 1, sizeof *texts);
   if (!texts) _exit(70);
   for (uint32_t i = 0; i < *count; i++) texts[i] = get_text(buffer, NULL);
   return texts;
}

void sandbox_read(sandbox_request_t *request, text_buffer_t *start) {
   request->read_paths = get_texts(start, &request->read_count);
   request->write_paths = get_texts(start, &request->write_count);
   request->listen_count = get_u32(start);
   request->listen_ports = calloc(request->listen_count + 1, sizeof *request->listen_ports);
   if (!request->listen_ports) _exit(70);
   for (uint32_t i = 0; i < request->listen_count; i++) request->listen_ports[i] = get_u32(start);
   request->memory_bytes = get_u64(start);
   request->required = get_u32(start);
   request->user = get_u32(start);
   request->no_user = get_text(start, NULL);
   request->call_filter = get_text(start, &request->call_filter_size);
   request->no_filter = get_text(start, NULL);
}

typedef struct remarks {
   char    *text;
   uint64_t size;
} remarks_t;

__attribute__((format(printf, 2, 3))) static void remark(remarks_t *remarks, const char *format, ...) {
   va_list arguments;
   va_start(arguments, format);
   size_t used = strlen(remarks->text);
   if (used && used + 2 < remarks->size) strcpy(remarks->text + used, "; "), used += 2;
   vsnprintf(remarks->text + used, remarks->size - used, format, arguments);
   va_end(arguments);
}

// ## Limits

static void limit(const sandbox_request_t *request) {
   struct rlimit none = {0, 0}, files = {1024, 1024};
   setrlimit(RLIMIT_CORE, &none);
   setrlimit(RLIMIT_NOFILE, &files);
   // Address space says nothing about use (Swift reserves much of it); the data segment does.
   struct rlimit data = {request->memory_bytes, request->memory_bytes};
   if (request->memory_bytes) setrlimit(RLIMIT_DATA, &data);
}

// ## User

// For good: not even a program with capabilities of its own would have them.
static void bound_capabilities(void) {
   int capability = 0;
   while (!prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)) capability++; // until there are no more, or it may not drop any
}

// With a user of its own even what the other layers do not know is closed: signals to others, their files, their /proc.
static bool change_user(const sandbox_request_t *request, remarks_t *remarks) {
   if (!request->user) return remark(remarks, "own user: %s", request->no_user), false;
   gid_t group = request->user;
   struct rlimit tasks = {8192, 8192}; // threads, as it cannot have processes
   setrlimit(RLIMIT_NPROC, &tasks);
   // System calls of this thread, which is the only one.
   if (setgroups(0, NULL) || setresgid(group, group, group) || setresuid(request->user, request->user, request->user))
      return remark(remarks, "own user %u: %s", request->user, strerror(errno)), false;
   die_with_host(); // the kernel has forgotten that wish with the user
   return true;
}

// ## Capabilities

static bool drop_capabilities(void) {
   prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
   struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
   struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
   return syscall(SYS_capset, &header, none) == 0;
}

// ## Landlock: the structures of the kernel's interface, declared here because the system's header is older than it.

enum {
   FS_EXECUTE = 1 << 0, FS_WRITE_FILE = 1 << 1, FS_READ_FILE = 1 << 2, FS_READ_DIR = 1 << 3, FS_REMOVE_DIR = 1 << 4,
   FS_REMOVE_FILE = 1 << 5, FS_MAKE_CHAR = 1 << 6, FS_MAKE_DIR = 1 << 7, FS_MAKE_REG = 1 << 8, FS_MAKE_SOCK = 1 << 9,
   FS_MAKE_FIFO = 1 << 10, FS_MAKE_BLOCK = 1 << 11, FS_MAKE_SYM = 1 << 12, FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14,
   FS_IOCTL_DEV = 1 << 15,
   NET_BIND = 1 << 0, NET_CONNECT = 1 << 1,
   SCOPE_ABSTRACT_SOCKET = 1 << 0, SCOPE_SIGNAL = 1 << 1,
   RULE_PATH = 1, RULE_PORT = 2,
};

typedef struct { uint64_t fs, net, scoped; } ruleset_t;
typedef struct __attribute__((packed)) { uint64_t allowed; int32_t parent; } path_rule_t;
typedef struct { uint64_t allowed, port; } port_rule_t;

enum {
   READING = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR,
   WRITING = READING | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_FIFO
             | FS_MAKE_SYM | FS_REFER | FS_TRUNCATE,
   ON_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
};

// What the running kernel knows of each kind of right.
static ruleset_t known_rights(int abi) {
   ruleset_t rights = {.fs = (FS_REFER << 0) - 1};
   if (abi >= 2) rights.fs |= FS_REFER;
   if (abi >= 3) rights.fs |= FS_TRUNCATE;
   if (abi >= 4) rights.net = NET_BIND | NET_CONNECT;
   if (abi >= 5) rights.fs |= FS_IOCTL_DEV;
   if (abi >= 6) rights.scoped = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
   return rights;
}

// What is not there need not be allowed.
static void allow_path(int ruleset, const ruleset_t *known, const char *path, uint64_t rights) {
   int place = open(path, O_PATH | O_CLOEXEC);
   struct stat status;
   if (place < 0) return;
   if (!fstat(place, &status) && !S_ISDIR(status.st_mode)) rights &= ON_FILES;
   // Devices such as /dev/null are written to as well.
   if (S_ISCHR(status.st_mode)) rights |= FS_WRITE_FILE;
   path_rule_t rule = {.allowed = rights & known->fs, .parent = place};
   syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0);
   close(place);
}

static bool restrict_files(const sandbox_request_t *request, remarks_t *remarks, bool *scopes) {
   int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
   if (abi < 1) return remark(remarks, "this kernel has no Landlock, so files are not restricted"), false;
   if (abi < 4) remark(remarks, "Landlock %d restricts no ports", abi);
   if (abi < 6) remark(remarks, "Landlock %d restricts no signals and abstract sockets", abi);
   ruleset_t known = known_rights(abi);
   size_t size = abi >= 6 ? sizeof known : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
   int ruleset = (int)syscall(SYS_landlock_create_ruleset, &known, size, 0);
   if (ruleset < 0) return remark(remarks, "Landlock: %s", strerror(errno)), false;
   for (uint32_t i = 0; i < request->read_count; i++) allow_path(ruleset, &known, request->read_paths[i], READING);
   for (uint32_t i = 0; i < request->write_count; i++) allow_path(ruleset, &known, request->write_paths[i], WRITING);
   for (uint32_t i = 0; abi >= 4 && i < request->listen_count; i++) {
      port_rule_t rule = {NET_BIND, request->listen_ports[i]};
      syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0);
   }
   bool restricted = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
   if (!restricted) remark(remarks, "Landlock: %s", strerror(errno));
   close(ruleset);
   *scopes = restricted && abi >= 6;
   return restricted;
}

// ## System calls

static bool restrict_calls(const sandbox_request_t *request, remarks_t *remarks) {
   struct sock_filter *code = (void *)request->call_filter; // as malloc aligned it
   struct sock_fprog program = {(uint16_t)(request->call_filter_size / sizeof *code), code};
   if (*request->no_filter) return remark(remarks, "seccomp: %s", request->no_filter), false;
   if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) return remark(remarks, "seccomp: %s", strerror(errno)), false;
   return true;
}

static const char *names_of(uint32_t layers) {
   static const char *const names[] = {"no new privileges", "no capabilities", "Landlock", "seccomp", "scopes", "own user"};
   static char text[128];
   for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      if (!(layers >> i & 1)) continue;
      if (*text) strcat(text, ", ");
      strcat(text, names[i]);
   }
   return text;
}

uint32_t sandbox_enter(const sandbox_request_t *request, char *text, uint64_t size) {
   remarks_t remarks = {text, size};
   uint32_t achieved = 0;
   limit(request);
   bound_capabilities();
   if (change_user(request, &remarks)) achieved |= SANDBOX_OWN_USER;
   if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) achieved |= SANDBOX_NO_NEW_PRIVILEGES;
   if (drop_capabilities()) achieved |= SANDBOX_CAPABILITIES;
   else remark(&remarks, "capabilities: %s", strerror(errno));
   bool scopes = false;
   if (restrict_files(request, &remarks, &scopes)) achieved |= SANDBOX_LANDLOCK;
   if (scopes) achieved |= SANDBOX_SCOPES;
   if (restrict_calls(request, &remarks)) achieved |= SANDBOX_SECCOMP;
   uint32_t missing = request->required & ~achieved;
   if (missing) worker_fail("the operator demands a sandbox that cannot be had here: without %s (%s)", names_of(missing), text);
   return achieved;
}
