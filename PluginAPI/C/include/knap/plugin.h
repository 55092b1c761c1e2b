#pragma once
#include "host.h"

// # Plugin
//
// A plugin is a shared object that exports one function, `knap_plugin_draft`, and hides everything else. The function
// returns a table that the library owns for as long as it is loaded. The ABI's major version is in the symbol's name:
// a host looks for the newest name that it knows.
//
// The manifest is read before any code of the plugin runs; what this table says must agree with it.
//
// ## Life of an instance
//
//      create --> prepare --> activate <--> suspend --> destroy
//
// `create` allocates and nothing more. `prepare` does the slow work that needs no exclusive resource: it takes no
// lock, listener, watcher or writable store, because another instance may still hold them. `activate` takes them.
// `suspend`, called when no call is in flight, releases them. `destroy` frees; it follows `create` in any state.
// Two instances of one library may live at the same time, so state lives in the instance, not in globals.
//
// prepare, activate and suspend are calls like any other: each completes the handle it is given, inline or later,
// within the time that the manifest allows, and may use that handle as the parent of calls to services that the
// manifest requires.

// One method. `name` is "service.method", as in the manifest.
typedef struct knap_method {
   uint32_t    size;
   uint32_t    reserved;
   const char *name;
   // Serves a call: completes it now, or later from any thread. A method that the manifest calls non-blocking returns
   // within a millisecond. The request is borrowed until this returns. [call & active]
   void (*call)(void *instance, const knap_request_t *request);
} knap_method_t;

typedef struct knap_plugin {
   uint32_t    size;
   uint32_t    method_count;
   const char *name;    // as in the manifest
   const char *version; // as in the manifest

   const knap_method_t *const *methods;

   // Makes an instance, or returns why not. [control]
   knap_status_t (*create)(const knap_host_t *host, void **instance);
   // [control & created]
   void (*prepare)(void *instance, knap_call_t call);
   // [control & prepared or suspended]
   void (*activate)(void *instance, knap_call_t call);
   // [control & active]
   void (*suspend)(void *instance, knap_call_t call);
   // [control & !active]
   void (*destroy)(void *instance);

   // Returns the instance's table for the extension `id`, or null. [control & created]
   const void *(*extension)(void *instance, const char *id);
} knap_plugin_t;

// The only symbol a plugin exports. Called before `create`, possibly more than once, always with the same answer.
// [control]
typedef const knap_plugin_t *(*knap_plugin_draft_f)(void);
KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void);
#define KNAP_PLUGIN_SYMBOL "knap_plugin_draft"
