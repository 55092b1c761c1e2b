// An instance of the plugin under the watching host, and calls of it.
#pragma once
#include "checker.h"

typedef struct {
   host_t              *host;
   const knap_plugin_t *plugin;
   void                *instance;
} run_t;

// How long a hook, or a method without a deadline of its own, may take.
#define LIMIT (10 * SECOND)

// The plugin's table; null, and a fault, where there is none.
const knap_plugin_t *load(void);

knap_status_t create(run_t *run, const knap_plugin_t *plugin, shape_t shape);
// Has the instance go through a hook, and answers how that ended, to be freed.
answer_t hook_answer(run_t *run, const char *name, void (*body)(void *, knap_call_t));
// The same where it is to end well; what the plugin needs and this host does not have ends the test as skipped.
knap_status_t hook(run_t *run, const char *name, void (*body)(void *, knap_call_t));
void destroy(run_t *run);

// Creates, prepares and activates. False, and a fault: it did not go well, and nothing is left.
bool start(run_t *run, const knap_plugin_t *plugin, shape_t shape);
void suspend(run_t *run);
// Suspends and destroys.
void stop(run_t *run);

// The method's row in the table, and its place there; null where it has none.
const knap_method_t *row_of(const knap_plugin_t *plugin, const char *name, uint32_t *index);
// Makes a call. The request's bytes are gone when this returns, as they may be with a real host. 0: no such method.
knap_call_t begin(run_t *run, const method_t *method, knap_bytes_t body);
// Waits for the end of a call, with no input to follow and room for whatever it sends.
void finish(run_t *run, const method_t *method, knap_call_t made, answer_t *answer);
// Makes a call and waits for its end; who waits for more input gets none. False: no such method.
bool call(run_t *run, const method_t *method, knap_bytes_t body, answer_t *answer);
// One good call of every method.
void call_all(run_t *run);

knap_bytes_t bytes_of(const char *text);

typedef enum { INPUTS_NONE, INPUTS_FIRST, INPUTS_VALID, INPUTS_INVALID } inputs_t;
// Has `body` run with every method, and with its inputs of a kind: none (null), the first that is valid, all that are, or
// those that are not; on one active instance.
void with_inputs(inputs_t kind, void (*body)(run_t *run, const method_t *method, const char *input));

extern void test_load(void), test_entry(void), test_lifecycle(void), test_instances(void), test_leaks(void), test_signals(void);
extern void test_larger_host(void), test_smaller_host(void), test_bare_host(void), test_unknown_extension(void), test_storm(void);
extern void test_calls(void), test_wrong_input(void), test_garbage(void), test_threads(void), test_cancel(void), test_blocking(void);
extern void test_streams(void), test_state(void);
