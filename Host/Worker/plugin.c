#include "worker.h"
#include <dlfcn.h>
#include <knap/knap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The library and its one instance. Whether its table agrees with the manifest is for the host to judge, which gets the
// names; here is only checked what would crash.

static void load_library(void *unused) {
   (void)unused;
   void *library = dlopen(worker.library, RTLD_NOW | RTLD_LOCAL);
   if (!library) worker_fail("%s cannot be loaded: %s", worker.name, dlerror());
   knap_black_box_loaded(knap_black_box_code(worker.name, 1, ""), library);
   const knap_plugin_t *(*entry)(void);
   *(void **)&entry = dlsym(library, KNAP_PLUGIN_SYMBOL);
   if (!entry) worker_fail("%s does not export %s", worker.name, KNAP_PLUGIN_SYMBOL);
   const knap_plugin_t *table = worker.table = entry();
   if (!table) worker_fail("%s: %s returned null", worker.name, KNAP_PLUGIN_SYMBOL);
   if (table->size < sizeof *table) worker_fail("%s: its table is shorter than this ABI's", worker.name);
   if (!table->create || !table->prepare || !table->activate || !table->suspend || !table->destroy || !table->extension
       || !table->name || !table->version || (table->method_count && !table->methods))
      worker_fail("%s: a function or a name of its table is null", worker.name);
   for (uint32_t i = 0; i < table->method_count; i++)
      if (!table->methods[i] || table->methods[i]->size < sizeof(knap_method_t) || !table->methods[i]->name
          || !table->methods[i]->call)
         worker_fail("%s: method %u of its table is incomplete", worker.name, i);
}

void plugin_load(void) { knap_engine_within(worker.plugin_party, "load", load_library, NULL); }

static knap_text_t text(const char *string) { return (knap_text_t){string, strlen(string)}; }

void plugin_report(uint32_t sandbox_level, const char *remarks) {
   text_buffer_t body = {0};
   put_text(&body, text(worker.table->name));
   put_text(&body, text(worker.table->version));
   put_u32(&body, worker.table->method_count);
   for (uint32_t i = 0; i < worker.table->method_count; i++) put_text(&body, text(worker.table->methods[i]->name));
   put_u32(&body, sandbox_level);
   put_text(&body, text(remarks));
   control_tell(CONTROL_LOADED, &body);
}

// What the manifest says of a method: its place there, or -1 when it says nothing, which the host will refuse.
static int64_t promised(const char *name) {
   for (uint32_t i = 0; i < worker.method_count; i++)
      if (!strcmp(worker.methods[i], name)) return i;
   return -1;
}

// The host's party may call each method by its place in the table. Call when the instance is there.
void plugin_route(void) {
   worker.bindings = calloc(worker.table->method_count + 1, sizeof *worker.bindings);
   if (!worker.bindings) worker_fail("%s: out of memory", worker.name);
   for (uint32_t i = 0; i < worker.table->method_count; i++) {
      const knap_method_t *method = worker.table->methods[i];
      knap_route_t *route = knap_route_named(worker.engine, method->name);
      int64_t place = promised(method->name);
      knap_route_provide(worker.engine, route, &(knap_provision_t){
         .party = worker.plugin_party, .method = method, .instance = worker.instance, .index = i,
         .flags = place < 0 || worker.blocking[place] ? KNAP_ROUTE_BLOCKING : 0,
         .timeout_ns = place < 0 ? 0 : worker.timeouts[place]});
      worker.bindings[i] = knap_party_bind(worker.host_party, route);
   }
}

// ## Hooks, each a call to the plugin that the host makes

static const knap_host_t *self(void) { return knap_party_host(worker.plugin_party); }

static void end(knap_call_t call, knap_status_t status, const char *message) {
   knap_result_t result = {.size = sizeof result, .status = status, .message = text(message)};
   self()->calls->complete(self(), call, &result);
}

// What these hooks were given: the bodies of their calls, for `load` and the like.
typedef struct hook_input {
   uint32_t method;
   text_buffer_t body;
} hook_input_t;

static void create(knap_call_t call) {
   knap_status_t status = worker.table->create(self(), &worker.instance);
   if (status == KNAP_OK) plugin_route();
   end(call, status, "");
}

static void collect(void *context, knap_bytes_t piece) {
   text_buffer_t *all = context;
   all->data = realloc(all->data, all->size + piece.size + 1);
   if (!all->data) _Exit(70);
   if (piece.size) memcpy(all->data + all->size, piece.data, piece.size);
   all->size += piece.size;
}

// The first four bytes of the state say its schema.
static void save(knap_call_t call) {
   const knap_plugin_state_t *state = worker.table->extension(worker.instance, KNAP_EXT_STATE);
   if (!state) return end(call, KNAP_UNIMPLEMENTED, "it does not offer " KNAP_EXT_STATE);
   text_buffer_t all = {0};
   knap_writer_t out = {&all, collect};
   put_u32(&all, state->schema);
   all.capacity = 0; // from here on `collect` owns its growth
   knap_result_t result = {.size = sizeof result, .status = state->save(worker.instance, &out)};
   if (result.status == KNAP_OK) result.body = (knap_bytes_t){all.data, all.size};
   self()->calls->complete(self(), call, &result);
   free(all.data);
}

static void load(knap_call_t call, text_buffer_t *body) {
   const knap_plugin_state_t *state = worker.table->extension(worker.instance, KNAP_EXT_STATE);
   if (!state) return end(call, KNAP_UNIMPLEMENTED, "it does not offer " KNAP_EXT_STATE);
   uint32_t schema = get_u32(body);
   end(call, state->load(worker.instance, schema, (knap_bytes_t){body->data + body->at, body->size - body->at}), "");
}

static void health(knap_call_t call) {
   const knap_plugin_health_t *table = worker.table->extension(worker.instance, KNAP_EXT_HEALTH);
   if (!table) return end(call, KNAP_UNIMPLEMENTED, "it does not offer " KNAP_EXT_HEALTH);
   text_buffer_t all = {0};
   knap_writer_t out = {&all, collect};
   put_u32(&all, 0);
   all.capacity = 0;
   uint32_t status = (uint32_t)table->check(worker.instance, &out);
   memcpy(all.data, &status, sizeof status);
   knap_result_t result = {.size = sizeof result, .body = {all.data, all.size}};
   self()->calls->complete(self(), call, &result);
   free(all.data);
}

static void drain(knap_call_t call, uint32_t method, text_buffer_t *body) {
   const knap_plugin_drain_t *table = worker.table->extension(worker.instance, KNAP_EXT_DRAIN);
   if (table && method == SPECIAL_DRAIN_BEGIN) table->begin(worker.instance, get_u64(body));
   else if (table) table->abandon(worker.instance);
   end(call, KNAP_OK, "");
}

static void committed(knap_call_t call) {
   const knap_plugin_committed_t *table = worker.table->extension(worker.instance, KNAP_EXT_COMMITTED);
   if (!table) return end(call, KNAP_UNIMPLEMENTED, "it does not offer " KNAP_EXT_COMMITTED);
   table->committed(worker.instance, call);
}

static void run_hook(void *context, knap_call_t call) {
   hook_input_t *input = context;
   const knap_plugin_t *table = worker.table;
   switch (input->method) {
      case SPECIAL_CREATE: create(call); break;
      case SPECIAL_PREPARE: table->prepare(worker.instance, call); break;
      case SPECIAL_ACTIVATE:
         knap_party_open(worker.plugin_party, 1);
         table->activate(worker.instance, call);
         break;
      case SPECIAL_SUSPEND:
         extension_unwatch_all();
         knap_party_open(worker.plugin_party, 0); // no timer fires from here on
         table->suspend(worker.instance, call);
         break;
      case SPECIAL_DESTROY:
         table->destroy(worker.instance);
         end(call, KNAP_OK, "");
         break;
      case SPECIAL_SAVE: save(call); break;
      case SPECIAL_LOAD: load(call, &input->body); break;
      case SPECIAL_HEALTH: health(call); break;
      case SPECIAL_DRAIN_BEGIN: case SPECIAL_DRAIN_ABANDON: drain(call, input->method, &input->body); break;
      case SPECIAL_REGISTRY_CHANGED:
         extension_registry_changed((knap_bytes_t){input->body.data, input->body.size});
         end(call, KNAP_OK, "");
         break;
      case SPECIAL_CONNECTED:
         extension_connected((knap_bytes_t){input->body.data, input->body.size});
         end(call, KNAP_OK, "");
         break;
      case SPECIAL_COMMITTED: committed(call); break;
      default: end(call, KNAP_UNIMPLEMENTED, "this worker has no such hook");
   }
   free(input->body.data);
   free(input);
}

// As the host's people know them.
static const char *name_of(uint32_t hook) {
   static const char *const names[] = {
      "create", "prepare", "activate", "suspend", "destroy", "save", "load", "health", "drain", "drain", "registry change",
      "connection", "committed",
   };
   uint32_t place = hook - SPECIAL_CREATE;
   return place < sizeof names / sizeof *names ? names[place] : "hook";
}

knap_status_t plugin_special(uint32_t method, const knap_outgoing_t *outgoing, knap_call_t *call) {
   hook_input_t *input = calloc(1, sizeof *input);
   if (!input) return KNAP_RESOURCE_EXHAUSTED;
   input->method = method;
   collect(&input->body, outgoing->body);
   knap_outgoing_t without = *outgoing;
   without.body = (knap_bytes_t){0};
   knap_hook_t hook = {run_hook, input, name_of(method), true};
   knap_status_t status = knap_engine_hook(worker.host_party, worker.plugin_party, &hook, &without, call);
   if (status != KNAP_OK) {
      free(input->body.data);
      free(input);
   }
   return status;
}
