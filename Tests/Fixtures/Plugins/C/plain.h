// What the fixtures that behave have in common: an instance with a host, answers, and a plugin made of a table METHODS(X)
// of names. -DNAME and -DVERSION name it.
#pragma once
#include <knap/knap.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef NAME
#define NAME "plain"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef SERVICE
#define SERVICE "test." NAME
#endif
// The table that the plugin offers under an extension's id; a fixture that offers some defines it before this header.
#ifndef OFFERS
#define OFFERS(id) NULL
#endif

typedef struct {
   const knap_host_t *host;
   long               count;
   char               text[256];
} instance_t;

#define EXTENSION(type, id) const type *table = self->host->extension(self->host, id)

static inline knap_text_t text(const char *string) { return (knap_text_t){string, strlen(string)}; }

static inline void finish(instance_t *self, knap_call_t call, knap_status_t status, const char *body, uint64_t size) {
   knap_result_t result = {.size = sizeof result, .status = status, .body = {(const uint8_t *)body, size}};
   self->host->calls->complete(self->host, call, &result);
}

__attribute__((format(printf, 3, 4))) static inline void answer(instance_t *self, knap_call_t call, const char *format, ...) {
   char body[1024];
   va_list arguments;
   va_start(arguments, format);
   int size = vsnprintf(body, sizeof body, format, arguments);
   va_end(arguments);
   finish(self, call, KNAP_OK, body, (uint64_t)size);
}

// The request's body is one JSON string without escapes: its text.
static inline void argument(const knap_request_t *request, char *out, size_t capacity) {
   size_t size = request->body.size < 2 ? 0 : (size_t)request->body.size - 2;
   if (size >= capacity) size = capacity - 1;
   memcpy(out, request->body.data + 1, size);
   out[size] = 0;
}

// A growing text to which the host writes.
typedef struct {
   char  *data;
   size_t size;
} writing_t;

static inline void append(void *context, knap_bytes_t piece) {
   writing_t *writing = context;
   writing->data = realloc(writing->data, writing->size + piece.size + 1);
   memcpy(writing->data + writing->size, piece.data, piece.size);
   writing->size += piece.size;
   writing->data[writing->size] = 0;
}

#define METHOD(name) static void name(void *instance, const knap_request_t *request)

#define PLUGIN \
   METHODS(TABLE) \
   static const knap_method_t *const methods[] = {METHODS(POINTER)}; \
   static knap_status_t create(const knap_host_t *host, void **instance) { \
      instance_t *self = calloc(1, sizeof *self); \
      if (!self) return KNAP_RESOURCE_EXHAUSTED; \
      self->host = host; \
      *instance = self; \
      return KNAP_OK; \
   } \
   static void hook(void *instance, knap_call_t call) { finish(instance, call, KNAP_OK, NULL, 0); } \
   static const void *extension(void *instance, const char *id) { return (void)instance, (void)id, OFFERS(id); } \
   KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) { \
      static const knap_plugin_t plugin = { \
         sizeof(knap_plugin_t), sizeof methods / sizeof *methods, NAME, VERSION, methods, create, hook, hook, hook, free, \
         extension, \
      }; \
      return &plugin; \
   }
#define TABLE(name) static const knap_method_t name##_method = {sizeof(knap_method_t), 0, SERVICE "." #name, name};
#define POINTER(name) &name##_method,
