// A plugin for the tests of `knap check`: it keeps to every rule, but for the one that -DFAULT_... plants.
#include <knap-sdk/answer.h>
#include <knap-sdk/json.h>
#include <knap/ext/log.h>
#include <knap/ext/state.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>


typedef struct {
   const knap_host_t *host;
   int64_t            counted;
} plugin_t;

#ifdef FAULT_one_instance
static int instances;
#endif

static void complete_words(plugin_t *self, knap_call_t call, int64_t words) {
   knap_json_writer_t json = {0};
   knap_json_open(&json, '{');
   knap_json_put_name(&json, "words");
#ifdef FAULT_answer_beside_its_schema
   knap_json_put_text(&json, "many");
#else
   knap_json_put_integer(&json, words);
#endif
   knap_json_close(&json, '}');
   knap_answer(self->host, call, knap_json_finish(&json));
   free(json.data);
}

static int64_t words_of(const char *text) {
   int64_t words = 0;
   for (bool inside = false; *text; text++) {
      words += *text > ' ' && !inside;
      inside = *text > ' ';
   }
   return words;
}

#ifdef FAULT_borrowed_bytes_kept
typedef struct { plugin_t *self; knap_request_t request; } late_t;
static void *answer_late(void *context) {
   late_t *late = context;
   usleep(20000);
   char *text = knap_json_copy(knap_json_get(knap_json_parse(late->request.body), "text"));
   if (text) complete_words(late->self, late->request.call, words_of(text));
   else knap_fail(late->self->host, late->request.call, KNAP_INTERNAL, "the text has gone");
   free(text);
   free(late);
   return NULL;
}
#endif

static void count_words(void *instance, const knap_request_t *request) {
   plugin_t *self = instance;
#ifdef FAULT_extension_taken_for_granted
   const knap_host_log_t *log = self->host->extension(self->host, KNAP_EXT_LOG);
   log->write(self->host, KNAP_LOG_INFO, request->call, (knap_text_t){"counted", 7}, NULL, 0);
#endif
#ifdef FAULT_beyond_the_size
   self->host->calls->wait(self->host, 0);
#endif
#ifdef FAULT_buffer_kept
   uint8_t *data;
   if (!self->host->buffers->create(self->host, 16, &data)) return;
#endif
#ifdef FAULT_holds_the_thread
   usleep(50000);
#endif
#ifdef FAULT_never_completes
   if (self->counted >= 0) return;
#endif
#ifdef FAULT_borrowed_bytes_kept
   late_t   *late = malloc(sizeof *late);
   pthread_t thread;
   *late = (late_t){self, *request};
   pthread_create(&thread, NULL, answer_late, late);
   pthread_detach(thread);
   return;
#endif
#ifdef FAULT_trusts_its_input
   char small[64];
   memcpy(small, request->body.data + 9, request->body.size - 11); // {"text":" ... "}
   small[request->body.size - 11] = 0;
   complete_words(self, request->call, words_of(small));
   return;
#endif
#ifdef FAULT_not_for_threads
   static int running;
   if (__atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST) > 1) abort();
   usleep(100);
   __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
#endif
   char *text = knap_json_copy(knap_json_get(knap_json_parse(request->body), "text"));
   if (!text) {
      knap_fail(self->host, request->call, KNAP_INVALID_ARGUMENT, "the argument 'text' must be a text");
      return;
   }
#ifdef FAULT_internal_error
   knap_fail(self->host, request->call, KNAP_INTERNAL, "it broke");
#elif defined FAULT_no_such_status
   knap_fail(self->host, request->call, 99, "it broke");
#elif defined FAULT_result_without_size
   knap_result_t result = {.body = {(const uint8_t *)"{\"words\":0}", 11}};
   self->host->calls->complete(self->host, request->call, &result);
#else
   complete_words(self, request->call, words_of(text));
#endif
#ifdef FAULT_completes_twice
   complete_words(self, request->call, 0);
#endif
#ifndef FAULT_leaks_memory
   free(text);
#endif
   __atomic_add_fetch(&self->counted, 1, __ATOMIC_RELAXED);
}

// ## A stream: each item comes back, and the call ends with the caller's side.

typedef struct {
   plugin_t       *self;
   knap_call_t     call;
   pthread_mutex_t lock;
   int             waiting; // to be sent back when there is credit
   bool            isInputClosed, isEnding, isCancelled;
} echo_t;

// Sends what is waiting; ends the call when there is nothing more to come.
static void go_on(echo_t *echo) {
   pthread_mutex_lock(&echo->lock);
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {(const uint8_t *)"{}", 2}};
   while (echo->waiting > 0) {
      knap_status_t status = echo->self->host->calls->send(echo->self->host, echo->call, &item);
      if (status == KNAP_CANCELLED) echo->isCancelled = true;
#ifdef FAULT_sends_without_credit
      for (int i = 0; status == KNAP_RESOURCE_EXHAUSTED && i < 100000; i++)
         status = echo->self->host->calls->send(echo->self->host, echo->call, &item);
#endif
      if (status != KNAP_OK) break;
      echo->waiting--;
   }
   bool ends = !echo->isEnding && (echo->isCancelled || (echo->isInputClosed && echo->waiting == 0));
#ifdef FAULT_ignores_cancel
   ends = ends && !echo->isCancelled;
#endif
   echo->isEnding |= ends;
   pthread_mutex_unlock(&echo->lock);
   if (ends) knap_done(echo->self->host, echo->call);
}

static void echo_item(void *context, knap_call_t call, const knap_item_t *item) {
   echo_t *echo = context;
   (void)item;
   pthread_mutex_lock(&echo->lock);
   echo->waiting++;
   pthread_mutex_unlock(&echo->lock);
   echo->self->host->calls->grant(echo->self->host, call, 1);
   go_on(echo);
}
static void echo_half_close(void *context, knap_call_t call) {
   echo_t *echo = context;
   (void)call;
   pthread_mutex_lock(&echo->lock);
   echo->isInputClosed = true;
   pthread_mutex_unlock(&echo->lock);
   go_on(echo);
}
static void echo_credit(void *context, knap_call_t call) {
   (void)call;
   go_on(context);
}
static void echo_cancel(void *context, knap_call_t call, knap_status_t reason) {
   echo_t *echo = context;
   (void)call, (void)reason;
   pthread_mutex_lock(&echo->lock);
   echo->isCancelled = true;
   pthread_mutex_unlock(&echo->lock);
   go_on(echo);
}
static void echo_closed(void *context) {
   echo_t *echo = context;
   pthread_mutex_destroy(&echo->lock);
   free(echo);
}

static void echo(void *instance, const knap_request_t *request) {
   static const knap_callee_t callee = {sizeof callee, 0, echo_item, echo_half_close, echo_credit, echo_cancel, echo_closed};
   plugin_t *self = instance;
   echo_t   *echo = calloc(1, sizeof *echo);
   if (!echo) return knap_fail(self->host, request->call, KNAP_RESOURCE_EXHAUSTED, "no memory");
   *echo = (echo_t){.self = self, .call = request->call, .waiting = 2};
   pthread_mutex_init(&echo->lock, NULL);
   if (self->host->calls->listen(self->host, request->call, &callee, echo) != KNAP_OK) return echo_closed(echo);
   self->host->calls->grant(self->host, request->call, 1);
}

// ## Life

static void *idle(void *unused) {
   pause();
   return unused;
}

static knap_status_t create(const knap_host_t *host, void **instance) {
#ifdef FAULT_one_instance
   if (__atomic_add_fetch(&instances, 1, __ATOMIC_SEQ_CST) > 1) return KNAP_FAILED_PRECONDITION;
#endif
   plugin_t *self = calloc(1, sizeof *self);
   if (!self) return KNAP_RESOURCE_EXHAUSTED;
   self->host = host;
   *instance = self;
   return KNAP_OK;
}
static void destroy(void *instance) {
#ifdef FAULT_one_instance
   __atomic_sub_fetch(&instances, 1, __ATOMIC_SEQ_CST);
#endif
   free(instance);
}
static void prepare(void *instance, knap_call_t call) { knap_done(((plugin_t *)instance)->host, call); }
static void activate(void *instance, knap_call_t call) {
   plugin_t *self = instance;
   (void)idle;
#ifdef FAULT_leaks_descriptors
   if (dup(1) < 0) return;
#endif
#ifdef FAULT_leaks_threads
   pthread_t thread;
   pthread_create(&thread, NULL, idle, NULL);
#endif
#ifdef FAULT_changes_signals
   signal(SIGTERM, SIG_IGN);
#endif
#ifdef FAULT_blocks_signals
   sigset_t all;
   sigfillset(&all);
   pthread_sigmask(SIG_BLOCK, &all, NULL);
#endif
   knap_done(self->host, call);
#ifdef FAULT_hook_completes_twice
   knap_done(self->host, call);
#endif
}
static void suspend(void *instance, knap_call_t call) {
#ifndef FAULT_suspend_never_completes
   knap_done(((plugin_t *)instance)->host, call);
#else
   (void)instance, (void)call;
#endif
}

static knap_status_t save(void *instance, const knap_writer_t *out) {
   plugin_t *self = instance;
   out->write(out->context, (knap_bytes_t){(const uint8_t *)&self->counted, sizeof self->counted});
   return KNAP_OK;
}
static knap_status_t load(void *instance, uint32_t schema, knap_bytes_t state) {
   plugin_t *self = instance;
#ifdef FAULT_refuses_its_own_state
   return KNAP_FAILED_PRECONDITION;
#endif
#ifdef FAULT_trusts_its_state
   int64_t length = *(const int64_t *)state.data;
   self->counted = ((const int64_t *)state.data)[length % 1000000 * 1000];
   return KNAP_OK;
#endif
#ifndef FAULT_takes_any_revision
   if (schema != 1) return KNAP_FAILED_PRECONDITION;
#endif
   if (state.size != sizeof self->counted) return KNAP_INVALID_ARGUMENT;
   memcpy(&self->counted, state.data, sizeof self->counted);
   return KNAP_OK;
}

static const void *extension(void *instance, const char *id) {
   static const knap_plugin_state_t state = {sizeof state, 1, save, load};
   (void)instance;
#ifdef FAULT_answers_any_extension
   return &state;
#endif
   return strcmp(id, KNAP_EXT_STATE) ? NULL : &state;
}

#ifdef FAULT_slow_to_load
__attribute__((constructor)) static void dawdle(void) { usleep(400000); }
#endif
#ifdef FAULT_starts_a_thread_when_loaded
__attribute__((constructor)) static void begin(void) {
   pthread_t thread;
   pthread_create(&thread, NULL, idle, NULL);
}
#endif
#ifdef FAULT_exports_more
__attribute__((visibility("default"))) int helper(void) { return 1; }
#endif
#ifdef FAULT_starts_programs
int run_something(void);
__attribute__((visibility("hidden"))) int run_something(void) { return execl("/bin/true", "true", (char *)NULL); }
#endif

static const knap_method_t        count_method = {sizeof(knap_method_t), 0, "test.planted.count_words", count_words};
static const knap_method_t        echo_method = {sizeof(knap_method_t), 0, "test.planted.echo", echo};
static const knap_method_t *const methods[] = {
   &count_method,
#ifndef FAULT_method_missing
   &echo_method,
#endif
};
static const knap_plugin_t plugin = {
   .size = sizeof plugin,
   .method_count = sizeof methods / sizeof *methods,
#ifdef FAULT_another_name
   .name = "somebody",
#else
   .name = "planted",
#endif
   .version = "1.0.0",
   .methods = methods,
   .create = create,
   .prepare = prepare,
   .activate = activate,
   .suspend = suspend,
   .destroy = destroy,
   .extension = extension,
};

KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) {
   (void)echo_method;
#ifdef FAULT_another_table
   static knap_plugin_t copies[8];
   static int           count;
   copies[count % 8] = plugin;
   return &copies[count++ % 8];
#endif
   return &plugin;
}
