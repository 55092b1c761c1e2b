#include "box.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

// What runs when the process crashes or exits: writes the record and lets the signal have its way. Only async-signal-safe
// calls from here on; memory that may not be there is read by the kernel, which refuses instead of faulting.

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction before[SIGNALS]; // what was installed when this was, such as Swift's backtracer
static atomic_int recording;             // the thread that writes the record

static uintptr_t instruction_of(const ucontext_t *context) {
#if defined(__x86_64__)
   return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
   return (uintptr_t)context->uc_mcontext.pc;
#endif
}

static uintptr_t stack_of(const ucontext_t *context) {
#if defined(__x86_64__)
   return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#else
   return (uintptr_t)context->uc_mcontext.sp;
#endif
}

static size_t read_memory(uintptr_t from, void *to, size_t size) {
   struct iovec here = {to, size}, there = {(void *)from, size};
   ssize_t count = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
   return count > 0 ? (size_t)count : 0;
}

// Whether a call instruction ends right before the address; others are pointers to functions, kept on the stack.
static bool follows_call(uintptr_t address) {
#if defined(__x86_64__)
   uint8_t code[8];
   if (read_memory(address - sizeof code, code, sizeof code) != sizeof code) return false;
   if (code[3] == 0xe8) return true; // call rel32
   static const int lengths[] = {2, 3, 4, 6, 7}; // call r/m64, by the length of its operand
   for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
      if (code[8 - lengths[i]] == 0xff && (code[9 - lengths[i]] >> 3 & 7) == 2) return true;
   return false;
#else
   return address != 0;
#endif
}

// The innermost caller that is a plugin's code; a word on the stack that looks like a return address into it.
static const knap_image_t *caller_on_stack(uintptr_t stack, uintptr_t *address) {
   enum { PAGE = 4096, PAGES = 64 };
   static uintptr_t words[PAGE / sizeof(uintptr_t)]; // one thread at a time gets here
   stack &= ~(sizeof(uintptr_t) - 1);
   for (int page = 0; page < PAGES; page++) {
      uintptr_t end = (stack | (PAGE - 1)) + 1;
      size_t count = read_memory(stack, words, end - stack) / sizeof *words;
      for (size_t i = 0; i < count; i++) {
         const knap_image_t *image = box_image_at(words[i]);
         if (!image || !atomic_load(&image->code) || !follows_call(words[i])) continue;
         *address = words[i];
         return image;
      }
      stack = end; // a page that is not there may be a guard
   }
   return NULL;
}

static void name_culprit(knap_box_crash_t *crash, knap_blame_t blame, const char *plugin, uint32_t generation) {
   const knap_code_t *code = box_code_of(plugin, generation);
   crash->blame = blame;
   crash->generation = generation;
   box_copy(crash->plugin, sizeof crash->plugin, plugin);
   if (code) box_copy(crash->digest, sizeof crash->digest, code->digest);
}

static void find_culprit(knap_box_crash_t *crash, uintptr_t instruction, uintptr_t stack) {
   knap_running_t running = {0};
   bool runs = knap_engine_running(&running);
   const knap_image_t *at = instruction ? box_image_at(instruction) : NULL;
   const knap_code_t *code = at ? atomic_load(&at->code) : NULL;
   uintptr_t caller = 0;
   const knap_image_t *image = code ? at : caller_on_stack(stack, &caller);
   if (image) crash->frame_offset = (code ? instruction : caller) - image->base;
   if (code) {
      name_culprit(crash, KNAP_BLAME_INSTRUCTION, code->plugin, code->generation);
   } else if (runs) {
      name_culprit(crash, KNAP_BLAME_FRAME, running.plugin, running.generation);
      const knap_code_t *callers = image ? atomic_load(&image->code) : NULL;
      if (!callers || strcmp(callers->plugin, running.plugin)) crash->frame_offset = 0;
   } else if (image) {
      code = atomic_load(&image->code);
      name_culprit(crash, KNAP_BLAME_STACK, code->plugin, code->generation);
   }
   if (runs && !strcmp(running.plugin, crash->plugin)) box_copy(crash->what, sizeof crash->what, running.what);
   const knap_engine_t *engine = atomic_load(&knap_box.engine);
   if (!engine || !crash->plugin[0]) return;
   knap_running_t serving[KNAP_BOX_SERVING];
   uint32_t count = knap_engine_serving(engine, crash->plugin, serving, KNAP_BOX_SERVING);
   for (uint32_t i = 0; i < count; i++) box_copy(crash->serving[i], sizeof crash->serving[i], serving[i].what);
   crash->serving_count = count;
}

static void measure_memory(knap_box_crash_t *crash) {
   struct rlimit limit;
   if (!getrlimit(RLIMIT_DATA, &limit) && limit.rlim_cur != RLIM_INFINITY) crash->data_limit = limit.rlim_cur;
   char text[128];
   int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
   ssize_t size = file < 0 ? 0 : read(file, text, sizeof text);
   if (file >= 0) close(file);
   uint64_t pages = 0;
   for (ssize_t i = 0, field = 0; i < size && field < 6; i++) { // the sixth number: data and stack
      if (text[i] == ' ') field++;
      else if (field == 5) pages = pages * 10 + (uint64_t)(text[i] - '0');
   }
   crash->data_bytes = pages * 4096;
}

static void record(knap_box_state_t state, uintptr_t instruction, uintptr_t stack) {
   knap_box_crash_t *crash = &knap_box.page->crash;
   crash->time_ms = box_now_ms();
   crash->instruction = instruction;
   crash->stage = 1;
   knap_box.page->state = (uint32_t)state;
   const knap_image_t *image = instruction ? box_image_at(instruction) : NULL;
   if (image) {
      crash->offset = instruction - image->base;
      const knap_code_t *code = atomic_load(&image->code); // whose file is named by its content
      box_copy(crash->module, sizeof crash->module, code ? code->plugin : image->name);
   }
   // A signal from outside is nobody's doing here.
   if (!crash->sender || crash->sender == getpid()) find_culprit(crash, instruction, stack);
   measure_memory(crash);
   crash->stage = 2;
   if (knap_box.descriptor >= 0) fdatasync(knap_box.descriptor);
}

// A fault comes again when this handler returns, and then finds whoever was here before, such as Swift's backtracer. A signal
// that was sent, and a breakpoint, would not come again.
static void give_way(int number, const siginfo_t *info) {
   struct sigaction next = {.sa_handler = SIG_DFL};
   bool comes_again = info->si_code > 0 && number != SIGTRAP;
   for (int i = 0; i < SIGNALS; i++)
      if (comes_again && signals[i] == number && before[i].sa_handler != SIG_IGN) next = before[i];
   sigaction(number, &next, NULL);
   if (!comes_again) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

static void on_signal(int number, siginfo_t *info, void *context) {
   int thread = (int)syscall(SYS_gettid), nobody = 0;
   if (!atomic_compare_exchange_strong(&recording, &nobody, thread)) {
      // Again in the same thread: what was here before went wrong itself.
      if (nobody == thread) _exit(128 + number);
      for (;;) pause(); // the first one's record is the true one, and ends the process
   }
   knap_box_page_t *page = knap_box.page;
   if (page->state != KNAP_BOX_RUNNING) return give_way(number, info); // on its way out already
   page->crash.signal = number;
   page->crash.code = info->si_code;
   if (info->si_code <= 0) page->crash.sender = info->si_pid; // sent, by whatever call
   else page->crash.address = (uint64_t)(uintptr_t)info->si_addr;
   record(KNAP_BOX_CRASHED, instruction_of(context), stack_of(context));
   give_way(number, info);
}

// Runs in whatever thread called exit(3); not for _exit(2).
static void on_end(int status, void *unused) {
   (void)unused;
   int nobody = 0;
   if (!knap_box.page || knap_box.page->state != KNAP_BOX_RUNNING) return;
   if (!atomic_compare_exchange_strong(&recording, &nobody, (int)syscall(SYS_gettid))) return;
   knap_box.page->crash.status = status;
   record(KNAP_BOX_EXITED, 0, (uintptr_t)__builtin_frame_address(0));
   atomic_store(&recording, 0);
}

void box_watch_exit(void) { on_exit(on_end, NULL); }

void knap_black_box_arm(void) {
   knap_black_box_loaded(NULL, NULL);
   box_second_stack_for_main();
   box_watch_exit();
   for (int i = 0; i < SIGNALS; i++) {
      struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
      sigfillset(&action.sa_mask);
      sigaction(signals[i], &action, &before[i]);
   }
}
