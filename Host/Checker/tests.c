#include "checker.h"
#include <dirent.h>
#include <dlfcn.h>
#include <knap/ext/state.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

// # The plugin, and instances of it

static const knap_plugin_t *load(void) {
   void *library = dlopen(subject.library, RTLD_NOW | RTLD_LOCAL);
   if (!library) return fault("it cannot be loaded: %s", dlerror()), NULL;
   knap_plugin_draft_f entry = (knap_plugin_draft_f)dlsym(library, KNAP_PLUGIN_SYMBOL);
   if (!entry) return fault("it has no function %s", KNAP_PLUGIN_SYMBOL), NULL;
   const knap_plugin_t *plugin = entry();
   if (!plugin) fault("%s returned null", KNAP_PLUGIN_SYMBOL);
   return plugin;
}

typedef struct {
   host_t              *host;
   const knap_plugin_t *plugin;
   void                *instance;
} run_t;

// How long a hook, or a method without a deadline of its own, may take.
#define LIMIT (10 * SECOND)

static knap_status_t create(run_t *run, const knap_plugin_t *plugin, shape_t shape) {
   *run = (run_t){.host = host_make(shape), .plugin = plugin};
   knap_status_t status = plugin->create(host_table(run->host), &run->instance);
   if (status == KNAP_OK && !run->instance) fault("create said OK and made no instance");
   return status;
}

static answer_t hook_answer(run_t *run, const char *name, void (*body)(void *, knap_call_t)) {
   knap_call_t call = host_begin(run->host, name, now_ns() + LIMIT);
   body(run->instance, call);
   answer_t answer = {0};
   host_wait(run->host, call, LIMIT, &answer);
   return answer;
}

static knap_status_t hook(run_t *run, const char *name, void (*body)(void *, knap_call_t)) {
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

static void destroy(run_t *run) {
   run->plugin->destroy(run->instance);
   host_destroy(run->host);
}

static bool start(run_t *run, const knap_plugin_t *plugin, shape_t shape) {
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

static void suspend(run_t *run) { hook(run, "suspend", run->plugin->suspend); }

static void stop(run_t *run) {
   suspend(run);
   destroy(run);
}

// # Calls

static const knap_method_t *row_of(const knap_plugin_t *plugin, const char *name, uint32_t *index) {
   for (uint32_t i = 0; i < plugin->method_count; i++)
      if (!strcmp(plugin->methods[i]->name, name)) return *index = i, plugin->methods[i];
   return NULL;
}

static uint64_t limit_of(const method_t *method) { return method->deadline_ns ? method->deadline_ns : LIMIT; }

// Makes a call. The request's bytes are gone when this returns, as they may be with a real host. 0: no such method.
static knap_call_t begin(run_t *run, const method_t *method, knap_bytes_t body) {
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

static bool call(run_t *run, const method_t *method, knap_bytes_t body, answer_t *answer) {
   knap_call_t made = begin(run, method, body);
   if (!made) return false;
   // Who waits for more input gets none, and may send what it likes.
   host_half_close(run->host, made);
   host_grant(run->host, made, 1 << 20);
   host_wait(run->host, made, limit_of(method) + SECOND, answer);
   return true;
}

// Every text of an array; `text` is freed by the next call.
static bool next_text(knap_json_t array, knap_json_t *place, char **text) {
   free(*text);
   *text = NULL;
   if (!knap_json_next(array, NULL, place)) return false;
   return (*text = knap_json_copy(*place)) != NULL;
}

static knap_bytes_t bytes_of(const char *text) { return (knap_bytes_t){(const uint8_t *)text, strlen(text)}; }

// A first input that is right, to be freed; null where the method has none.
static char *input_of(const method_t *method) {
   knap_json_t place = knap_json_none;
   char       *text = NULL;
   next_text(method->valid, &place, &text);
   return text;
}

// One good call of every method.
static void call_all(run_t *run) {
   for (uint32_t i = 0; i < subject.method_count; i++) {
      char    *input = input_of(&subject.methods[i]);
      answer_t answer = {0};
      if (input && call(run, &subject.methods[i], bytes_of(input), &answer)) answer_free(&answer);
      free(input);
   }
}

// # The process

static int entries(const char *directory) {
   DIR *stream = opendir(directory);
   int  count = -2;
   while (stream && readdir(stream)) count++;
   if (stream) closedir(stream);
   return count;
}

static int threads(void) { return entries("/proc/self/task"); }
static int descriptors(void) { return entries("/proc/self/fd"); }

// # Tests

static void test_load(void) {
   int      before = threads();
   uint64_t began = now_ns();
   if (!load()) return;
   uint64_t took = now_ns() - began;
   if (took > 250 * MILLISECOND) warn("loading it took %.0f ms", (double)took / (double)MILLISECOND);
   if (threads() > before) warn("loading it started %d threads; start them in activate", threads() - before);
}

static void test_entry(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   knap_plugin_draft_f entry = (knap_plugin_draft_f)dlsym(dlopen(subject.library, RTLD_NOW), KNAP_PLUGIN_SYMBOL);
   if (entry() != plugin || entry() != plugin) fault("the entry answered another table the second time");
   if (plugin->size < sizeof *plugin) {
      fault("its table states the size %u; set it to sizeof(knap_plugin_t)", plugin->size);
      return;
   }
   if (strcmp(plugin->name, subject.name)) fault("its table says the name %s, the manifest %s", plugin->name, subject.name);
   if (strcmp(plugin->version, subject.version)) fault("its table says version %s, the manifest %s", plugin->version, subject.version);
   if (!plugin->create || !plugin->prepare || !plugin->activate || !plugin->suspend || !plugin->destroy || !plugin->extension)
      fault("a function of its table is null");
   for (uint32_t i = 0; i < plugin->method_count; i++) {
      const knap_method_t *row = plugin->methods[i];
      if (!row || row->size < sizeof *row || !row->name || !row->call) {
         fault("row %u of its methods is null, or has a wrong size, name or function", i);
         continue;
      }
      bool isDeclared = false;
      for (uint32_t m = 0; m < subject.method_count; m++) isDeclared |= !strcmp(subject.methods[m].name, row->name);
      if (!isDeclared) warn("%s is in its table and not in its manifest, so that nobody can call it", row->name);
   }
   for (uint32_t m = 0; m < subject.method_count; m++) {
      uint32_t index;
      if (!row_of(plugin, subject.methods[m].name, &index)) fault("%s is in its manifest and not in its table", subject.methods[m].name);
   }
}

static void test_lifecycle(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   const char *orders[] = {"", "p", "pas", "pasas", "pasasas"};
   for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
      run_t         run;
      knap_status_t status = create(&run, plugin, SHAPE_USUAL);
      if (status != KNAP_OK) {
         fault("create answered %d", status);
         host_destroy(run.host);
         return;
      }
      for (const char *step = orders[i]; *step; step++) {
         const char *name = *step == 'p' ? "prepare" : *step == 'a' ? "activate" : "suspend";
         hook(&run, name, *step == 'p' ? plugin->prepare : *step == 'a' ? plugin->activate : plugin->suspend);
         if (*step == 'a') call_all(&run);
      }
      destroy(&run);
   }
}

static void test_instances(void) {
   const knap_plugin_t *plugin = load();
   run_t                first, second;
   if (!plugin || !start(&first, plugin, SHAPE_USUAL)) return;
   if (start(&second, plugin, SHAPE_USUAL)) {
      if (first.instance == second.instance) fault("two calls of create answered the same instance");
      call_all(&first);
      call_all(&second);
      stop(&first);
      call_all(&second);
      stop(&second);
   } else {
      stop(&first);
   }
}

// Runtimes keep what they may need again, up to a bound: a leak is what grows with every hundred instances.
static void test_leaks(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   enum { WARM = 30, HUNDRED = 100, MOST = 10 };
   for (int part = 0; part <= MOST; part++) {
      size_t memory = mallinfo2().uordblks;
      int    files = descriptors(), running = threads();
      for (int round = 0; round < (part ? HUNDRED : WARM); round++) {
         run_t run;
         if (!start(&run, plugin, SHAPE_USUAL)) return;
         call_all(&run);
         stop(&run);
      }
      if (!part) continue;
      size_t after = mallinfo2().uordblks;
      // Less than the smallest allocation each is somebody's table that grew.
      bool isLarger = after > memory + HUNDRED * 24, hasFiles = descriptors() > files + HUNDRED / 2, hasThreads = threads() > running + HUNDRED / 10;
      if (!isLarger && !hasFiles && !hasThreads) return;
      if (part < MOST) continue;
      if (isLarger) fault("each instance leaves %zu bytes of memory", (after - memory) / HUNDRED);
      if (hasFiles) fault("each instance leaves a descriptor: %d more are open after a hundred", descriptors() - files);
      if (hasThreads) fault("instances leave threads: %d more are running after a hundred", threads() - running);
   }
}

static void test_signals(void) {
   struct sigaction before[65], after;
   sigset_t         mask, mask_after;
   for (int number = 1; number < 65; number++) sigaction(number, NULL, &before[number]);
   pthread_sigmask(SIG_SETMASK, NULL, &mask);
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   call_all(&run);
   for (int number = 1; number < 65; number++)
      if (!sigaction(number, NULL, &after) && after.sa_handler != before[number].sa_handler)
         fault("it changed what signal %d (%s) does; signals belong to the host", number, sigabbrev_np(number) ? sigabbrev_np(number) : "?");
   pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
   if (memcmp(&mask, &mask_after, sizeof mask)) fault("it changed which signals the host's thread blocks");
   stop(&run);
}

static void in_shape(shape_t shape) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, shape)) return;
   call_all(&run);
   stop(&run);
}

static void test_larger_host(void) { in_shape(SHAPE_LARGER); }

// A plugin that needs what this host does not have refuses; it must not fall over.
static void runs_or_refuses(shape_t shape) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin) return;
   if (create(&run, plugin, shape) != KNAP_OK) {
      host_destroy(run.host);
      return;
   }
   answer_t prepared = hook_answer(&run, "prepare", plugin->prepare);
   if (prepared.status == KNAP_OK) {
      answer_t activated = hook_answer(&run, "activate", plugin->activate);
      if (activated.status == KNAP_OK) {
         call_all(&run);
         suspend(&run);
      }
      answer_free(&activated);
   }
   answer_free(&prepared);
   destroy(&run);
}

static void test_smaller_host(void) { runs_or_refuses(SHAPE_SMALLER); }
static void test_bare_host(void) { runs_or_refuses(SHAPE_BARE); }

static void test_unknown_extension(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (int i = 0; i < 2; i++)
      if (plugin->extension(run.instance, i ? "com.example.unknown/7" : "")) fault("it answered a table for an extension that nobody knows");
   stop(&run);
}

static void test_calls(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      const method_t *method = &subject.methods[m];
      knap_json_t     place = knap_json_none;
      char           *text = NULL;
      while (next_text(method->valid, &place, &text)) {
         answer_t answer = {0};
         if (!call(&run, method, bytes_of(text), &answer)) continue;
         bool isOwn = answer.status == KNAP_INTERNAL || answer.status == KNAP_UNKNOWN;
         if (isOwn && !subject.requires_services)
            fault("%s answered %d (%.200s) to %.200s", method->name, answer.status, answer.message, text);
         if (answer.status != KNAP_OK && !answer.message[0])
            warn("%s failed with %d and no message for %.200s; say what happened and what to do", method->name, answer.status, text);
         report_answer(method, text, answer.status, (knap_bytes_t){(const uint8_t *)answer.body, answer.size});
         answer_free(&answer);
      }
   }
   stop(&run);
}

// What the host would not let through.
static void test_wrong_input(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      const method_t *method = &subject.methods[m];
      knap_json_t     place = knap_json_none;
      char           *text = NULL;
      while (next_text(method->invalid, &place, &text)) {
         answer_t answer = {0};
         if (!call(&run, method, bytes_of(text), &answer)) continue;
         if (answer.status == KNAP_INTERNAL || answer.status == KNAP_UNKNOWN)
            warn("%s answered %d (%.200s) to %.200s; INVALID_ARGUMENT says whose mistake it is", method->name, answer.status,
                 answer.message, text);
         answer_free(&answer);
      }
   }
   stop(&run);
}

static void test_garbage(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   enum { MEGABYTE = 1 << 20 };
   char    *large = malloc(MEGABYTE);
   unsigned seed = subject.seed;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      for (int round = 0; round < 40; round++) {
         uint64_t size = (uint64_t)rand_r(&seed) % 200;
         for (uint64_t i = 0; i < size; i++) large[i] = (char)(round % 2 ? rand_r(&seed) : "{}[]\",:\\u01ae-. "[rand_r(&seed) % 17]);
         if (round == 0) size = 0;
         if (round == 1) memset(large, '[', size = MEGABYTE);
         if (round == 2) memset(large, '"', 1), memset(large + 1, 'a', MEGABYTE - 2), large[MEGABYTE - 1] = '"', size = MEGABYTE;
         answer_t answer = {0};
         if (call(&run, &subject.methods[m], (knap_bytes_t){(uint8_t *)large, size}, &answer)) answer_free(&answer);
      }
   }
   free(large);
   stop(&run);
}

// A method that blocks is given a thread, as a host does.
typedef struct {
   run_t          *run;
   const method_t *method;
   const char     *input;
   int             rounds;
} caller_t;

static void *make_calls(void *context) {
   caller_t *caller = context;
   for (int round = 0; round < caller->rounds; round++) {
      answer_t answer = {0};
      if (call(caller->run, caller->method, bytes_of(caller->input), &answer)) answer_free(&answer);
   }
   return NULL;
}

static void test_threads(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   enum { THREADS = 8 };
   for (uint32_t m = 0; m < subject.method_count; m++) {
      char *input = input_of(&subject.methods[m]);
      if (!input) continue;
      caller_t  caller = {.run = &run, .method = &subject.methods[m], .input = input, .rounds = 20};
      pthread_t all[THREADS];
      for (int i = 0; i < THREADS; i++) pthread_create(&all[i], NULL, make_calls, &caller);
      for (int i = 0; i < THREADS; i++) pthread_join(all[i], NULL);
      free(input);
   }
   stop(&run);
}

static void test_cancel(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      char *input = input_of(&subject.methods[m]);
      for (int round = 0; input && round < 10; round++) {
         knap_call_t made = begin(&run, &subject.methods[m], bytes_of(input));
         if (!made) break;
         host_cancel(run.host, made, round % 2 ? KNAP_CANCELLED : KNAP_DEADLINE_EXCEEDED);
         answer_t answer = {0};
         host_wait(run.host, made, 5 * SECOND, &answer);
         answer_free(&answer);
      }
      free(input);
   }
   stop(&run);
}

static void test_blocking(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      const method_t *method = &subject.methods[m];
      char           *input = method->blocks ? NULL : input_of(method);
      uint64_t        best = UINT64_MAX;
      for (int round = 0; input && round < 20; round++) {
         uint64_t    began = now_ns();
         knap_call_t made = begin(&run, method, bytes_of(input));
         uint64_t    took = now_ns() - began;
         if (took < best) best = took;
         answer_t answer = {0};
         host_half_close(run.host, made);
         host_grant(run.host, made, 1 << 20);
         host_wait(run.host, made, limit_of(method) + SECOND, &answer);
         answer_free(&answer);
      }
      if (input && best > 20 * MILLISECOND)
         fault("%s holds the host's thread for %.0f ms; say \"blocking\": true in the manifest, or answer later", method->name,
               (double)best / (double)MILLISECOND);
      else if (input && best > MILLISECOND)
         warn("%s holds the host's thread for %.1f ms; a method that does not block returns within one", method->name,
              (double)best / (double)MILLISECOND);
      free(input);
   }
   stop(&run);
}

static void test_streams(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.method_count) return skip("it provides no methods");
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (uint32_t m = 0; m < subject.method_count; m++) {
      char       *input = input_of(&subject.methods[m]);
      knap_call_t made = input ? begin(&run, &subject.methods[m], bytes_of(input)) : 0;
      if (made) {
         for (int i = 0; i < 3; i++) host_send(run.host, made, bytes_of(input));
         host_half_close(run.host, made);
         // One item at a time, as a slow reader takes them; who never ends is told to.
         uint64_t end = now_ns() + 2 * SECOND;
         while (!host_ended(run.host, made) && now_ns() < end && host_items(run.host, made) < 1000) {
            host_grant(run.host, made, 1);
            usleep(100);
         }
         if (!host_ended(run.host, made)) host_cancel(run.host, made, KNAP_CANCELLED);
         answer_t answer = {0};
         host_wait(run.host, made, 5 * SECOND, &answer);
         answer_free(&answer);
      }
      free(input);
   }
   stop(&run);
}

// ## State

typedef struct {
   uint8_t *data;
   uint64_t size;
} saved_t;

static void take(void *context, knap_bytes_t piece) {
   saved_t *saved = context;
   saved->data = realloc(saved->data, saved->size + piece.size + 1);
   if (piece.size) memcpy(saved->data + saved->size, piece.data, piece.size);
   saved->size += piece.size;
}

static const knap_plugin_state_t *state_of(run_t *run) {
   const knap_plugin_state_t *state = run->plugin->extension(run->instance, KNAP_EXT_STATE);
   if (!state) fault("its manifest names %s, and it answers no table for it", KNAP_EXT_STATE);
   else if (state->size < sizeof *state || !state->save || !state->load) fault("its table for %s is not whole", KNAP_EXT_STATE), state = NULL;
   return state;
}

static bool save(run_t *run, uint32_t *schema, saved_t *saved) {
   const knap_plugin_state_t *state = state_of(run);
   if (!state) return false;
   knap_writer_t out = {saved, take};
   knap_status_t status = state->save(run->instance, &out);
   if (status != KNAP_OK) fault("save answered %d", status);
   *schema = state->schema;
   return status == KNAP_OK;
}

// A new instance is given a state; true: it took it, and went on to run.
static bool load_state(const knap_plugin_t *plugin, uint32_t schema, knap_bytes_t bytes) {
   run_t run;
   if (create(&run, plugin, SHAPE_USUAL) != KNAP_OK || hook(&run, "prepare", plugin->prepare) != KNAP_OK) return false;
   const knap_plugin_state_t *state = state_of(&run);
   // Bytes that end where their memory does, and are gone afterwards.
   uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
   if (bytes.size) memcpy(copy, bytes.data, bytes.size);
   bool isTaken = state && state->load(run.instance, schema, (knap_bytes_t){copy, bytes.size}) == KNAP_OK;
   memset(copy, 0xA5, bytes.size);
   free(copy);
   if (isTaken && hook(&run, "activate", plugin->activate) == KNAP_OK) {
      call_all(&run);
      suspend(&run);
   }
   destroy(&run);
   return isTaken;
}

static void test_state(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.has_state) return skip("its manifest does not name %s", KNAP_EXT_STATE);
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   call_all(&run);
   suspend(&run);
   saved_t  saved = {0};
   uint32_t schema = 0;
   bool     isSaved = save(&run, &schema, &saved);
   destroy(&run);
   if (isSaved) {
      if (!load_state(plugin, schema, (knap_bytes_t){saved.data, saved.size})) fault("load refused what save had written");
      for (int i = 0; i < 32; i++) load_state(plugin, schema, (knap_bytes_t){saved.data, saved.size * (uint64_t)i / 32});
      unsigned seed = subject.seed;
      uint8_t  random[256];
      for (int round = 0; round < 50; round++) {
         uint64_t size = (uint64_t)rand_r(&seed) % sizeof random;
         for (uint64_t i = 0; i < size; i++) random[i] = (uint8_t)rand_r(&seed);
         load_state(plugin, schema, (knap_bytes_t){random, size});
      }
      // What was saved, with some bytes changed.
      for (int round = 0; saved.size && round < 50; round++) {
         saved_t changed = {malloc(saved.size), saved.size};
         memcpy(changed.data, saved.data, saved.size);
         for (int i = 0; i < 3; i++) changed.data[(uint64_t)rand_r(&seed) % saved.size] = (uint8_t)rand_r(&seed);
         load_state(plugin, schema, (knap_bytes_t){changed.data, changed.size});
         free(changed.data);
      }
      if (load_state(plugin, schema + 1000, (knap_bytes_t){saved.data, saved.size}))
         warn("load took a state of revision %u, which is later than its own %u; refuse what you cannot know", schema + 1000, schema);
      if (schema > 0) load_state(plugin, schema - 1, (knap_bytes_t){saved.data, saved.size});
   }
   free(saved.data);
}

static void test_storm(void) {
   const knap_plugin_t *plugin = load();
   run_t                run, next;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (int generation = 0; generation < 50 && !has_faults(); generation++) {
      if (!start(&next, plugin, SHAPE_USUAL)) break;
      call_all(&run);
      stop(&run);
      call_all(&next);
      run = next;
   }
   if (!has_faults()) stop(&run);
}

const test_t tests[] = {
   {"load", "Loading the library is quick and starts nothing.", test_load},
   {"entry", "The entry always answers the same table, which is whole and agrees with the manifest.", test_entry},
   {"lifecycle", "Every legal order of create, prepare, activate, suspend and destroy works, and each hook ends once.", test_lifecycle},
   {"instances", "Two instances live side by side, as they do in a reload.", test_instances},
   {"leaks", "A hundred instances, one after the other, leave no memory, descriptor or thread.", test_leaks},
   {"signals", "What signals do, and which are blocked, stays as it was.", test_signals},
   {"larger_host", "It runs on a later host, whose tables are larger.", test_larger_host},
   {"smaller_host", "On an earlier host, whose tables are smaller, it runs or refuses, and calls nothing beyond them.", test_smaller_host},
   {"bare_host", "On a host without any extension it runs or refuses, and does not fall over.", test_bare_host},
   {"unknown_extension", "Asked for an extension that it does not have, it answers null.", test_unknown_extension},
   {"calls", "Every method answers inputs that its schema allows, once and in time, as its output schema says.", test_calls},
   {"wrong_input", "Inputs that its schema forbids end in an answer.", test_wrong_input},
   {"garbage", "Bytes that are no JSON, are nested deeply or are large end in an answer.", test_garbage},
   {"threads", "Eight callers at once are all answered.", test_threads},
   {"cancel", "A call whose caller has gone is completed soon.", test_cancel},
   {"blocking", "A method that is not declared as blocking returns at once.", test_blocking},
   {"streams", "Items go both ways, one credit at a time, and nobody sends without credit.", test_streams},
   {"state", "What it saves it loads; truncated, changed, random and foreign states are refused or taken, without a fall.", test_state},
   {"storm", "Fifty generations follow each other while calls are made.", test_storm},
};
const uint32_t test_count = sizeof tests / sizeof *tests;
