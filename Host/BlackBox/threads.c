#include "box.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A second stack for every thread: whoever makes threads in this process (the engine, Swift's runtime, a plugin) calls
// the pthread_create below, because the dynamic linker finds the executable's before the C library's. The second stack is
// the far end of the thread's own, where an overflow does not reach. A sanitizer must see threads begin, and gives them
// second stacks of its own.

static size_t second_size(void) {
   long least = sysconf(_SC_MINSIGSTKSZ);
   return (least > 0 ? (size_t)least : 0) + (16 << 10);
}

#if !__has_feature(address_sanitizer)

enum { LEAST_STACK = 128 << 10 }; // of a thread that gets one

typedef int (*create_f)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
typedef struct start {
   void *(*run)(void *);
   void *context;
} start_t;

static void *begin(void *context) {
   start_t start = *(start_t *)context;
   free(context);
   size_t size = second_size();
   stack_t stack = {.ss_sp = __builtin_alloca(size), .ss_size = size}, none = {.ss_flags = SS_DISABLE};
   sigaltstack(&stack, NULL);
   void *result = start.run(start.context);
   sigaltstack(&none, NULL); // this frame goes, and thread-local destructors still run
   return result;
}

static bool has_room(const pthread_attr_t *attributes) {
   size_t size = 0;
   void *place = NULL;
   if (!attributes) return true;
   if (pthread_attr_getstack(attributes, &place, &size) || !size) return true; // the default
   return size >= LEAST_STACK;
}

static create_f real;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void find_real(void) { *(void **)&real = dlsym(RTLD_NEXT, "pthread_create"); }

__attribute__((visibility("default")))
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
   pthread_once(&once, find_real);
   if (!real) return ENOSYS;
   start_t *start = has_room(attributes) ? malloc(sizeof *start) : NULL;
   if (!start) return real(thread, attributes, run, context);
   *start = (start_t){run, context};
   int failed = real(thread, attributes, begin, start);
   if (failed) free(start);
   return failed;
}

#endif

void box_second_stack_for_main(void) {
   stack_t stack = {.ss_size = second_size()};
   stack.ss_sp = malloc(stack.ss_size); // as long as the process
   if (stack.ss_sp) sigaltstack(&stack, NULL);
}
