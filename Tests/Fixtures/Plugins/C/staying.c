// A plugin that could leave something of itself behind in its process: -DTHREAD, -DKEY, -DSIGNAL or -DUNIQUE.
#include "plain.h"
#include <pthread.h>
#include <signal.h>

#ifdef THREAD
static void *rest(void *unused) { return pause(), unused; }
__attribute__((constructor)) static void begin(void) {
   pthread_t thread;
   if (!pthread_create(&thread, NULL, rest, NULL)) pthread_detach(thread);
}
#endif
#ifdef KEY
static pthread_key_t key;
static void end(void *unused) { (void)unused; }
__attribute__((constructor)) static void begin(void) { pthread_key_create(&key, end); }
#endif
#ifdef SIGNAL
static void handle(int unused) { (void)unused; }
__attribute__((constructor)) static void begin(void) { signal(SIGUSR2, handle); }
#endif
#ifdef UNIQUE
__asm__(".globl one_of_its_kind\n.type one_of_its_kind, @gnu_unique_object\n.data\none_of_its_kind: .long 1\n.size one_of_its_kind, 4\n"
        ".text\n");
#endif

METHOD(version) { answer(instance, request->call, "\"" VERSION "\""); }

#define METHODS(X) X(version)
PLUGIN
