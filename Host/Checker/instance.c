#include "instance.h"
#include <dlfcn.h>

const knap_plugin_t *load(void) {
   void *library = dlopen(subject.library, RTLD_NOW | RTLD_LOCAL);
   if (!library) return fault("it cannot be loaded: %s", dlerror()), NULL;
   knap_plugin_draft_f entry = (knap_plugin_draft_f)dlsym(library, KNAP_PLUGIN_SYMBOL);
   if (!entry) return fault("it has no function %s", KNAP_PLUGIN_SYMBOL), NULL;
   const knap_plugin_t *plugin = entry();
   if (!plugin) fault("%s returned null", KNAP_PLUGIN_SYMBOL);
   return plugin;
}

knap_status_t create(run_t *run, const knap_plugin_t *plugin, shape_t shape) {
   *run = (run_t){.host = host_make(shape), .plugin = plugin};
   knap_status_t status = plugin->create(host_table(run->host), &run->instance);
   if (status == KNAP_OK && !run->instance) fault("create said OK and made no instance");
   return status;
}

answer_t hook_answer(run_t *run, const char *name, void (*body)(void *, knap_call_t)) {
   knap_call_t call = host_begin(run->host, name, now_ns() + LIMIT);
   body(run->instance, call);
   answer_t answer = {0};
   host_wait(run->host, call, LIMIT, &answer);
   return answer;
}

knap_status_t hook(run_t *run, const char *name, void (*body)(void *, knap_call_t)) {
   answer_t      answer = hook_answer(run, name, body);
   knap_status_t status = answer.status;
   // What it needs this host does not have; that is nobody's fault.
   if (status == KNAP_UNIMPLEMENTED || status == KNAP_UNAVAILABLE) {
      skip("%s answered %d here: %.300s", name, status, answer.message);
      end_test();
   }
   if (status != KNAP_OK) fault("%s answered %d: %.300s", name, status, answer.message);
   answer_free(&answer);
   return status;
}

void destroy(run_t *run) {
   run->plugin->destroy(run->instance);
   host_destroy(run->host);
}

bool start(run_t *run, const knap_plugin_t *plugin, shape_t shape) {
   knap_status_t status = create(run, plugin, shape);
   if (status != KNAP_OK) {
      fault("create answered %d", status);
      host_destroy(run->host);
      return false;
   }
   if (hook(run, "prepare", plugin->prepare) == KNAP_OK && hook(run, "activate", plugin->activate) == KNAP_OK) return true;
   destroy(run);
   return false;
}

void suspend(run_t *run) { hook(run, "suspend", run->plugin->suspend); }

void stop(run_t *run) {
   suspend(run);
   destroy(run);
}

// # Calls

const knap_method_t *row_of(const knap_plugin_t *plugin, const char *name, uint32_t *index) {
   for (uint32_t i = 0; i < plugin->method_count; i++)
      if (!strcmp(plugin->methods[i]->name, name)) return *index = i, plugin->methods[i];
   return NULL;
}

static uint64_t limit_of(const method_t *method) { return method->deadline_ns ? method->deadline_ns : LIMIT; }

knap_call_t begin(run_t *run, const method_t *method, knap_bytes_t body) {
   uint32_t             index;
   const knap_method_t *row = row_of(run->plugin, method->name, &index);
   if (!row) return 0;
   knap_call_t call = host_begin(run->host, method->name, now_ns() + limit_of(method));
   uint8_t    *bytes = malloc(body.size ? body.size : 1);
   if (body.size) memcpy(bytes, body.data, body.size);
   knap_request_t *request = malloc(sizeof *request);
   *request = (knap_request_t){.size = sizeof *request, .method = index, .call = call, .body = {bytes, body.size}};
   row->call(run->instance, request);
   memset(bytes, 0xA5, body.size);
   memset(request, 0xA5, sizeof *request);
   free(bytes);
   free(request);
   return call;
}

// Who waits for more input gets none, and may send what it likes.
void finish(run_t *run, const method_t *method, knap_call_t made, answer_t *answer) {
   host_half_close(run->host, made);
   host_grant(run->host, made, 1 << 20);
   host_wait(run->host, made, limit_of(method) + SECOND, answer);
}

bool call(run_t *run, const method_t *method, knap_bytes_t body, answer_t *answer) {
   knap_call_t made = begin(run, method, body);
   if (!made) return false;
   finish(run, method, made, answer);
   return true;
}

// Every text of an array; `text` is freed by the next call.
static bool next_text(knap_json_t array, knap_json_t *place, char **text) {
   free(*text);
   *text = NULL;
   if (!knap_json_next(array, NULL, place)) return false;
   return (*text = knap_json_copy(*place)) != NULL;
}

knap_bytes_t bytes_of(const char *text) { return (knap_bytes_t){(const uint8_t *)text, strlen(text)}; }

static void call_one(run_t *run, const method_t *method, const char *input) {
   answer_t answer = {0};
   if (call(run, method, bytes_of(input), &answer)) answer_free(&answer);
}

static void for_inputs(run_t *run, inputs_t kind, void (*body)(run_t *, const method_t *, const char *)) {
   for (uint32_t m = 0; m < subject.method_count; m++) {
      const method_t *method = &subject.methods[m];
      if (kind == INPUTS_NONE) {
         body(run, method, NULL);
         continue;
      }
      knap_json_t     place = knap_json_none;
      char           *text = NULL;
      while (next_text(kind == INPUTS_INVALID ? method->invalid : method->valid, &place, &text)) {
         body(run, method, text);
         if (kind == INPUTS_FIRST) break;
      }
      free(text);
   }
}

void call_all(run_t *run) { for_inputs(run, INPUTS_FIRST, call_one); }

void with_inputs(inputs_t kind, void (*body)(run_t *, const method_t *, const char *)) {
   if (!subject.method_count) return skip("it provides no methods");
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for_inputs(&run, kind, body);
   stop(&run);
}
