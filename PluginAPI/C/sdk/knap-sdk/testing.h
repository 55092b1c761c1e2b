#pragma once
// # A host for tests
//
// Enough of a host to make an instance and call its methods from an author's own tests, in one process and without
// Knap: calls are served one after the other, a call that the plugin makes itself is answered UNAVAILABLE, and the host
// offers no extensions. What a plugin does in a real host `knap check` tells.
//
//      knap_test_t test;
//      if (!knap_test_open(&test, knap_plugin_draft())) ...
//      knap_test_answer_t answer = knap_test_call(&test, "com.example.notes.count", "{\"text\":\"a b\"}");
//      assert(answer.status == KNAP_OK && !strcmp(answer.body, "{\"words\":2}"));
//      knap_test_free(&answer);
//      knap_test_close(&test);
#include <knap/knap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// How a call ended; texts are terminated and never null.
typedef struct knap_test_answer {
   knap_status_t status;
   char         *body;
   char         *message;
} knap_test_answer_t;

typedef struct knap_test {
   knap_host_t           host; // first: the plugin's pointer to it is a pointer to this
   const knap_plugin_t  *plugin;
   void                 *instance;
   pthread_mutex_t       lock;
   pthread_cond_t        ended;
   knap_call_t           call; // in flight; 0: none
   knap_call_t           last;
   const knap_callee_t  *callee;
   void                 *context;
   knap_test_answer_t    answer;
} knap_test_t;

static inline char *knap_test_copy(const void *data, uint64_t size) {
   char *copy = (char *)malloc(size + 1);
   if (!copy) abort();
   if (size) memcpy(copy, data, size);
   copy[size] = 0;
   return copy;
}

static inline knap_status_t knap_test_complete(const knap_host_t *host, knap_call_t call, const knap_result_t *result) {
   knap_test_t *test = (knap_test_t *)(uintptr_t)host;
   pthread_mutex_lock(&test->lock);
   bool isInFlight = call && call == test->call;
   if (isInFlight) {
      test->answer.status = result ? result->status : KNAP_OK;
      test->answer.body = result ? knap_test_copy(result->body.data, result->body.size) : knap_test_copy("", 0);
      test->answer.message = result ? knap_test_copy(result->message.data, result->message.size) : knap_test_copy("", 0);
      test->call = 0;
      pthread_cond_signal(&test->ended);
   }
   pthread_mutex_unlock(&test->lock);
   return isInFlight ? KNAP_OK : KNAP_FAILED_PRECONDITION;
}

static inline knap_status_t knap_test_listen(
   const knap_host_t *host, knap_call_t call, const knap_callee_t *callee, void *context) {
   knap_test_t *test = (knap_test_t *)(uintptr_t)host;
   pthread_mutex_lock(&test->lock);
   bool isInFlight = call && call == test->call && !test->callee;
   if (isInFlight) test->callee = callee, test->context = context;
   pthread_mutex_unlock(&test->lock);
   return isInFlight ? KNAP_OK : KNAP_FAILED_PRECONDITION;
}

static inline knap_status_t knap_test_send(const knap_host_t *host, knap_call_t call, const knap_item_t *item) {
   (void)host, (void)call, (void)item;
   return KNAP_OK;
}
static inline knap_status_t knap_test_refuse(const knap_host_t *host, knap_call_t call) {
   (void)host, (void)call;
   return KNAP_UNAVAILABLE;
}
static inline knap_status_t knap_test_grant(const knap_host_t *host, knap_call_t call, uint32_t items) {
   (void)host, (void)call, (void)items;
   return KNAP_OK;
}
static inline knap_status_t knap_test_info(const knap_host_t *host, knap_call_t call, knap_call_info_t *info) {
   (void)host, (void)call;
   uint32_t size = info->size;
   memset(info, 0, size);
   info->size = size;
   return KNAP_OK;
}

static inline knap_buffer_t *knap_test_buffer(const knap_host_t *host, uint64_t size, uint8_t **data) {
   (void)host;
   *data = (uint8_t *)malloc(size ? size : 1);
   return (knap_buffer_t *)*data;
}
static inline knap_buffer_t *knap_test_keep(
   const knap_host_t *host, knap_bytes_t bytes, knap_buffer_t *holder, knap_bytes_t *kept) {
   (void)holder;
   uint8_t *data;
   knap_buffer_t *buffer = knap_test_buffer(host, bytes.size, &data);
   if (!buffer) return NULL;
   if (bytes.size) memcpy(data, bytes.data, bytes.size);
   if (kept) kept->data = data, kept->size = bytes.size;
   return buffer;
}
static inline void knap_test_release(const knap_host_t *host, knap_buffer_t *buffer) {
   (void)host;
   free(buffer);
}
static inline const void *knap_test_extension(const knap_host_t *host, const char *id) {
   (void)host, (void)id;
   return NULL;
}

static inline void knap_test_free(knap_test_answer_t *answer) {
   free(answer->body);
   free(answer->message);
   memset(answer, 0, sizeof *answer);
}

static inline knap_test_answer_t knap_test_wait(knap_test_t *test, knap_call_t call) {
   pthread_mutex_lock(&test->lock);
   while (test->call == call) pthread_cond_wait(&test->ended, &test->lock);
   knap_test_answer_t answer = test->answer;
   const knap_callee_t *callee = test->callee;
   test->callee = NULL;
   pthread_mutex_unlock(&test->lock);
   if (callee) callee->closed(test->context);
   return answer;
}

static inline knap_call_t knap_test_begin(knap_test_t *test) {
   pthread_mutex_lock(&test->lock);
   knap_call_t call = test->call = ++test->last;
   memset(&test->answer, 0, sizeof test->answer);
   pthread_mutex_unlock(&test->lock);
   return call;
}

// Runs prepare, activate or suspend.
static inline bool knap_test_hook(knap_test_t *test, void (*hook)(void *, knap_call_t)) {
   knap_call_t call = knap_test_begin(test);
   hook(test->instance, call);
   knap_test_answer_t answer = knap_test_wait(test, call);
   bool isDone = answer.status == KNAP_OK;
   knap_test_free(&answer);
   return isDone;
}

// Makes an instance and activates it. False: it refused.
static inline bool knap_test_open(knap_test_t *test, const knap_plugin_t *plugin) {
   static const knap_calls_t calls = {
      sizeof calls, 0, knap_test_complete, knap_test_listen, knap_test_send, knap_test_refuse, knap_test_grant,
      knap_test_refuse, knap_test_info, knap_test_refuse,
   };
   static const knap_buffers_t buffers = {sizeof buffers, 0, knap_test_buffer, knap_test_keep, knap_test_release};
   memset(test, 0, sizeof *test);
   pthread_mutex_init(&test->lock, NULL);
   pthread_cond_init(&test->ended, NULL);
   test->host.size = sizeof test->host;
   test->host.calls = &calls;
   test->host.buffers = &buffers;
   test->host.extension = knap_test_extension;
   test->plugin = plugin;
   if (plugin->create(&test->host, &test->instance) != KNAP_OK) return false;
   return knap_test_hook(test, plugin->prepare) && knap_test_hook(test, plugin->activate);
}

// Calls "service.method" with a JSON text and waits for the answer, which the caller frees with `knap_test_free`.
static inline knap_test_answer_t knap_test_call(knap_test_t *test, const char *method, const char *body) {
   for (uint32_t i = 0; i < test->plugin->method_count; i++) {
      if (strcmp(test->plugin->methods[i]->name, method)) continue;
      knap_call_t call = knap_test_begin(test);
      knap_request_t request;
      memset(&request, 0, sizeof request);
      request.size = sizeof request;
      request.method = i;
      request.call = call;
      request.body.data = (const uint8_t *)body;
      request.body.size = strlen(body);
      test->plugin->methods[i]->call(test->instance, &request);
      return knap_test_wait(test, call);
   }
   knap_test_answer_t none = {KNAP_UNIMPLEMENTED, knap_test_copy("", 0), knap_test_copy("no such method", 14)};
   return none;
}

// Suspends and destroys the instance.
static inline void knap_test_close(knap_test_t *test) {
   if (test->instance) {
      knap_test_hook(test, test->plugin->suspend);
      test->plugin->destroy(test->instance);
   }
   pthread_mutex_destroy(&test->lock);
   pthread_cond_destroy(&test->ended);
}
