#pragma once
#include "include/knap_black_box.h"
#include <stdatomic.h>
#include <stddef.h>

struct knap_code {
   const char *plugin, *digest;
   uint32_t    generation;
   const knap_code_t *next;
};

// One executable range of an image that is or was loaded. Never freed: whoever jumps to where a library was crashes in what
// its plugin left behind.
typedef struct knap_image {
   uintptr_t from, to, base;
   char      name[256];
   _Atomic(const knap_code_t *) code; // null: no plugin's
   const struct knap_image *next;
} knap_image_t;

typedef struct knap_box {
   knap_box_page_t *page;
   int  descriptor; // of the file; -1: in memory
   _Atomic(const knap_engine_t *) engine;
   _Atomic(const knap_code_t *) codes;
   _Atomic(const knap_image_t *) images;
} knap_box_t;
extern knap_box_t knap_box;

// images.c; safe in a signal handler
const knap_image_t *box_image_at(uintptr_t address);
const knap_code_t *box_code_of(const char *plugin, uint32_t generation);

// box.c; safe in a signal handler. Copies what fits.
void box_copy(char *to, size_t size, const char *from);
int64_t box_now_ms(void);

// handler.c
void box_watch_exit(void);

// threads.c
void box_second_stack_for_main(void);
