#include "box.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// The page itself, and what is noted in it while all is well.

knap_box_t knap_box = {.descriptor = -1};

static const char MAGIC[8] = "KNAPBOX";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void box_copy(char *to, size_t size, const char *from) {
   size_t at = 0;
   for (; from && from[at] && at + 1 < size; at++) to[at] = from[at];
   to[at] = 0;
}

int64_t box_now_ms(void) {
   struct timespec now;
   clock_gettime(CLOCK_REALTIME, &now);
   return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void begin(knap_box_page_t *page) {
   memset(page, 0, sizeof *page);
   memcpy(page->magic, MAGIC, sizeof MAGIC);
   page->version = KNAP_BOX_VERSION;
   page->process = (int32_t)getpid();
   page->started_ms = box_now_ms();
   page->state = KNAP_BOX_RUNNING;
   knap_box.page = page;
}

// What was written by a process that crashed is not to be trusted.
static void clean(char *text, size_t size) {
   text[size - 1] = 0;
   for (; *text; text++)
      if ((uint8_t)*text < ' ' || *text == 0x7f) *text = '?';
}

static void terminate(knap_box_page_t *page) {
   knap_box_crash_t *crash = &page->crash;
   clean(crash->module, sizeof crash->module);
   clean(crash->plugin, sizeof crash->plugin);
   clean(crash->digest, sizeof crash->digest);
   clean(crash->what, sizeof crash->what);
   if (crash->serving_count > KNAP_BOX_SERVING) crash->serving_count = KNAP_BOX_SERVING;
   for (int i = 0; i < KNAP_BOX_SERVING; i++) clean(crash->serving[i], sizeof crash->serving[i]);
   for (int i = 0; i < KNAP_BOX_STEPS; i++) {
      knap_box_step_t *step = &page->steps[i];
      clean(step->plugin, sizeof step->plugin);
      clean(step->digest, sizeof step->digest);
      clean(step->hook, sizeof step->hook);
   }
}

bool knap_black_box_read(const knap_box_page_t *page, knap_box_page_t *copy) {
   if (page != copy) memcpy(copy, page, sizeof *copy);
   terminate(copy);
   return !memcmp(copy->magic, MAGIC, sizeof MAGIC) && copy->version == KNAP_BOX_VERSION;
}

bool knap_black_box_open(const char *path, knap_box_page_t *last) {
   memset(last, 0, sizeof *last);
   int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
   if (file < 0) return false;
   if (read(file, last, sizeof *last) != sizeof *last || !knap_black_box_read(last, last)) memset(last, 0, sizeof *last);
   // The disk must have it all before it is mapped: touching what a full disk has no room for is a SIGBUS.
   errno = ftruncate(file, sizeof(knap_box_page_t)) ? errno : posix_fallocate(file, 0, sizeof(knap_box_page_t));
   knap_box_page_t *page = errno ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
   if (page == MAP_FAILED) {
      int reason = errno;
      close(file);
      errno = reason;
      return false;
   }
   knap_box.descriptor = file;
   begin(page);
   return true;
}

bool knap_black_box_map(int descriptor) {
   knap_box_page_t *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
   if (page == MAP_FAILED) return false;
   begin(page);
   return true;
}

int knap_black_box_memory(const knap_box_page_t **page) {
   int memory = memfd_create("knap-black-box", MFD_CLOEXEC | MFD_ALLOW_SEALING);
   if (memory < 0) return -1;
   // Sealed before the other process gets it, which could take the pages away from under the reader.
   *page = ftruncate(memory, sizeof **page) || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
              ? MAP_FAILED : mmap(NULL, sizeof **page, PROT_READ, MAP_SHARED, memory, 0);
   if (*page != MAP_FAILED) return memory;
   int reason = errno;
   close(memory);
   errno = reason;
   return -1;
}

void knap_black_box_unmap(const knap_box_page_t *page) { munmap((void *)page, sizeof *page); }

void knap_black_box_engine(const knap_engine_t *engine) { atomic_store(&knap_box.engine, engine); }

void knap_black_box_stopped(void) {
   if (knap_box.page) knap_box.page->state = KNAP_BOX_STOPPED;
}

const knap_code_t *knap_black_box_code(const char *plugin, uint32_t generation, const char *digest) {
   knap_code_t *code = calloc(1, sizeof *code);
   if (!code) return NULL;
   *code = (knap_code_t){.plugin = strdup(plugin), .digest = strdup(digest), .generation = generation};
   pthread_mutex_lock(&lock);
   code->next = atomic_load(&knap_box.codes);
   atomic_store(&knap_box.codes, code);
   pthread_mutex_unlock(&lock);
   return code;
}

uint32_t knap_black_box_step(const knap_code_t *code, const char *hook) {
   knap_box_page_t *page = knap_box.page;
   uint32_t at = UINT32_MAX;
   if (!page || !code) return at;
   pthread_mutex_lock(&lock);
   for (uint32_t i = 0; i < KNAP_BOX_STEPS && at == UINT32_MAX; i++)
      if (!page->steps[i].used) at = i;
   if (at != UINT32_MAX) {
      knap_box_step_t *step = &page->steps[at];
      box_copy(step->plugin, sizeof step->plugin, code->plugin);
      box_copy(step->digest, sizeof step->digest, code->digest);
      box_copy(step->hook, sizeof step->hook, hook);
      step->generation = code->generation;
      step->used = 1;
   }
   pthread_mutex_unlock(&lock);
   return at;
}

void knap_black_box_step_ends(uint32_t step) {
   if (step < KNAP_BOX_STEPS) knap_box.page->steps[step].used = 0;
}
