// What calls between processes are measured against: 64 bytes to a process and back over a Unix socket, and a wake-up each
// way by a futex and by an eventfd, which is the least that a call can take whose two ends sleep.
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, LARGEST = 4096, IN_FLIGHT = 16 }; // as many large ones as a socket holds

typedef struct {
   const char *name;
   void (*ask)(int size), (*serve)(int size); // one exchange, at either end
} peer_t;

static int sockets[2], bells[2];
static struct { _Alignas(64) atomic_uint there; _Alignas(64) atomic_uint back; } *words;
static uint8_t bytes[IN_FLIGHT * LARGEST];

static void must(int ok) { if (!ok) perror("peers"), exit(1); }

static void transfer(int socket, int size, ssize_t (*move)(int, void *, size_t)) {
   for (int at = 0; at < size;) {
      ssize_t moved = move(socket, bytes + at, (size_t)(size - at));
      must(moved > 0);
      at += (int)moved;
   }
}
static ssize_t put(int socket, void *from, size_t size) { return write(socket, from, size); }
static void ask_socket(int size) { transfer(sockets[0], size, put), transfer(sockets[0], size, read); }
static void serve_socket(int size) { transfer(sockets[1], size, read), transfer(sockets[1], size, put); }

static void wake(atomic_uint *word) {
   atomic_store(word, 1);
   syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
static void wait_for(atomic_uint *word) {
   while (!atomic_exchange(word, 0)) syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}
static void ask_futex(int size) { (void)size; wake(&words->there), wait_for(&words->back); }
static void serve_futex(int size) { (void)size; wait_for(&words->there), wake(&words->back); }

static void ring(int bell) { uint64_t one = 1; must(write(bell, &one, sizeof one) == sizeof one); }
static void hear(int bell) { uint64_t rung; must(read(bell, &rung, sizeof rung) == sizeof rung); }
static void ask_bell(int size) { (void)size; ring(bells[0]), hear(bells[1]); }
static void serve_bell(int size) { (void)size; hear(bells[0]), ring(bells[1]); }

static uint64_t now(void) {
   struct timespec time;
   clock_gettime(CLOCK_MONOTONIC, &time);
   return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
static int compare(const void *a, const void *b) {
   uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
   return x < y ? -1 : x > y;
}

static pid_t start(const peer_t *peer, int size) {
   pid_t process = fork();
   must(process >= 0);
   if (process) return process;
   prctl(PR_SET_PDEATHSIG, SIGKILL);
   for (;;) peer->serve(size);
}
static void stop(pid_t process) { kill(process, SIGKILL), waitpid(process, NULL, 0); }

// The best of `runs`: other work on the machine only ever makes one slower.
static void measure(const peer_t *peer, const char *how, int size, int runs, int count, unsigned rest) {
   static uint64_t times[MOST];
   pid_t process = start(peer, size);
   uint64_t p50 = UINT64_MAX, p99 = 0;
   for (int run = 0; run < runs; run++) {
      for (int i = 0; i < count; i++) {
         if (rest) usleep(rest);
         uint64_t began = now();
         peer->ask(size);
         times[i] = now() - began;
      }
      qsort(times, (size_t)count, sizeof *times, compare);
      if (times[count / 2] < p50) p50 = times[count / 2], p99 = times[count * 99 / 100];
   }
   stop(process);
   char name[80];
   snprintf(name, sizeof name, "%s%s", peer->name, how);
   printf("  %-44s %9.2f  %9.2f\n", name, (double)p50 / 1000, (double)p99 / 1000);
}

// So many in flight, written and read together.
static void measure_many(const peer_t *peer, int size) {
   pid_t process = start(peer, size);
   double best = 0;
   for (int run = 0; run < 5; run++) {
      int rounds = 2000;
      uint64_t began = now();
      for (int i = 0; i < rounds; i++) transfer(sockets[0], IN_FLIGHT * size, put), transfer(sockets[0], IN_FLIGHT * size, read);
      double rate = (double)IN_FLIGHT * rounds / (double)(now() - began) * 1e9;
      if (rate > best) best = rate;
   }
   stop(process);
   printf("  %-44s %9s  %9s %8.2f M\n", size == 64 ? "Unix socket, 64 bytes, 16 in flight" : "Unix socket, 4 KiB, 16 in flight", "", "", best / 1e6);
}

static pid_t busy(void) {
   pid_t process = fork();
   must(process >= 0);
   if (process) return process;
   prctl(PR_SET_PDEATHSIG, SIGKILL);
   for (;;) {}
}

int main(void) {
   must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
   must((bells[0] = eventfd(0, 0)) >= 0 && (bells[1] = eventfd(0, 0)) >= 0);
   words = mmap(NULL, sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
   must(words != MAP_FAILED);
   const peer_t peers[] = {{"Unix socket, 64 bytes", ask_socket, serve_socket}, {"futex", ask_futex, serve_futex},
                           {"eventfd", ask_bell, serve_bell}};
   for (int i = 0; i < 3; i++) {
      if (i == 0) {
         measure(&peers[0], "", 64, 7, MOST, 0);
         const peer_t large = {"Unix socket, 4 KiB", ask_socket, serve_socket};
         measure(&large, "", LARGEST, 7, MOST, 0);
         measure_many(&peers[0], 64);
         measure_many(&peers[0], LARGEST);
      }
      measure(&peers[i], ", after 1 ms", 64, 3, 300, 1000);
      measure(&peers[i], ", after 100 ms", 64, 3, 20, 100000);
   }
   long processors = sysconf(_SC_NPROCESSORS_ONLN);
   pid_t others[1024];
   for (long i = 0; i < processors && i < 1024; i++) others[i] = busy();
   measure(&peers[0], ", every processor busy", 64, 1, 5000, 0);
   for (long i = 0; i < processors && i < 1024; i++) stop(others[i]);
   cpu_set_t one;
   CPU_ZERO(&one);
   CPU_SET(0, &one);
   must(!sched_setaffinity(0, sizeof one, &one));
   for (int i = 0; i < 2; i++) measure(&peers[i], ", on one processor", 64, 5, 5000, 0);
   return 0;
}
