#include "box.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// Which address belongs to whom. The table is a list that only grows, newest first, so that the handler can walk it at any
// moment; asking the dynamic linker then could wait for a lock that the crashed thread holds.

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct loading {
   const knap_code_t *code;
   uintptr_t base; // of its library
} loading_t;

static const knap_image_t *known(uintptr_t from, uintptr_t to, const char *name) {
   for (const knap_image_t *image = atomic_load(&knap_box.images); image; image = image->next) {
      if (image->from == from && image->to == to && !strcmp(image->name, name)) return image;
      if (image->from < to && from < image->to) return NULL; // something else was there before
   }
   return NULL;
}

static int note(struct dl_phdr_info *info, size_t size, void *context) {
   (void)size;
   const loading_t *loading = context;
   const char *name = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : program_invocation_short_name;
   for (int i = 0; i < info->dlpi_phnum; i++) {
      const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
      if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X)) continue;
      uintptr_t from = info->dlpi_addr + segment->p_vaddr, to = from + segment->p_memsz;
      char kept[sizeof((knap_image_t *)0)->name];
      box_copy(kept, sizeof kept, name);
      bool is_code = loading->code && info->dlpi_addr == loading->base;
      const knap_image_t *old = known(from, to, kept);
      if (old) {
         if (is_code) atomic_store((_Atomic(const knap_code_t *) *)&old->code, loading->code);
         continue;
      }
      knap_image_t *image = calloc(1, sizeof *image);
      if (!image) continue;
      image->from = from;
      image->to = to;
      image->base = info->dlpi_addr;
      memcpy(image->name, kept, sizeof kept);
      atomic_init(&image->code, is_code ? loading->code : NULL);
      image->next = atomic_load(&knap_box.images);
      atomic_store(&knap_box.images, image);
   }
   return 0;
}

void knap_black_box_loaded(const knap_code_t *code, void *library) {
   struct link_map *map = NULL;
   if (library) dlinfo(library, RTLD_DI_LINKMAP, &map);
   loading_t loading = {code, map ? map->l_addr : 0};
   if (!map) loading.code = NULL;
   // What is registered last runs first: before what the library has run at an exit, which may go wrong in its turn.
   if (code) box_watch_exit();
   pthread_mutex_lock(&lock);
   dl_iterate_phdr(note, &loading);
   pthread_mutex_unlock(&lock);
}

const knap_image_t *box_image_at(uintptr_t address) {
   for (const knap_image_t *image = atomic_load(&knap_box.images); image; image = image->next)
      if (address >= image->from && address < image->to) return image;
   return NULL;
}

const knap_code_t *box_code_of(const char *plugin, uint32_t generation) {
   for (const knap_code_t *code = atomic_load(&knap_box.codes); code; code = code->next)
      if (code->generation == generation && !strcmp(code->plugin, plugin)) return code;
   return NULL;
}
