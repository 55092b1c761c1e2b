// What `knap check` runs in a child process for each test: a host that watches every step of one plugin.
#pragma once
#include <knap-sdk/json.h>
#include <knap/knap.h>
#include <pthread.h>
#include <stdbool.h>

// # The plugin's side of a test, from the file that `knap` writes.

typedef struct {
   const char  *name; // "service.method"
   bool         blocks;
   uint64_t     deadline_ns;
   knap_json_t  valid;   // an array of texts
   knap_json_t  invalid; // an array of texts
} method_t;

typedef struct {
   const char *library;
   const char *name;
   const char *version;
   const char *configuration; // a JSON object
   const char *directory;     // for its state
   bool        has_state;
   bool        requires_services;
   method_t   *methods;
   uint32_t    method_count;
   unsigned    seed;
} subject_t;

extern subject_t subject;

// # Outcomes, one JSON object a line on descriptor 3

// Something that the plugin did and must not do. The first of each kind is reported; the test has failed.
__attribute__((format(printf, 1, 2))) void fault(const char *format, ...);
// The test cannot be made of this plugin.
__attribute__((format(printf, 1, 2))) void skip(const char *format, ...);
__attribute__((format(printf, 1, 2))) void warn(const char *format, ...);
// What a method answered to a valid input, to be held against its schema.
void report_answer(const method_t *method, const char *input, knap_status_t status, knap_bytes_t body);
bool has_faults(void);
// Ends the process; what was reported so far is the outcome.
_Noreturn void end_test(void);

// # The host

// How its tables look to the plugin.
typedef enum {
   SHAPE_USUAL,
   SHAPE_LARGER,  // with fields that a later version might add
   SHAPE_SMALLER, // without those that are not in the first version
   SHAPE_BARE,    // no extension at all
} shape_t;

typedef struct host host_t;

typedef struct {
   knap_status_t status;
   char         *body; // terminated
   uint64_t      size;
   char         *message;
} answer_t;

host_t *host_make(shape_t shape);
// Checks that nothing is left: no call in flight, no buffer held, no timer that runs.
void host_destroy(host_t *host);
const knap_host_t *host_table(host_t *host);

// Begins a call that the plugin is then given; 0 as the method of a hook.
knap_call_t host_begin(host_t *host, const char *name, uint64_t deadline_ns);
// Waits for the end of a call. One that does not end in time is a fault, and ends the test.
void host_wait(host_t *host, knap_call_t call, uint64_t limit_ns, answer_t *answer);
// Takes the answer that is there already. False: not ended yet.
bool host_ended(host_t *host, knap_call_t call);
void host_cancel(host_t *host, knap_call_t call, knap_status_t reason);
// Sends an item to the plugin, where it listens and has granted credit.
bool host_send(host_t *host, knap_call_t call, knap_bytes_t body);
void host_half_close(host_t *host, knap_call_t call);
void host_grant(host_t *host, knap_call_t call, uint32_t items);
// How many items the plugin has sent.
uint64_t host_items(host_t *host, knap_call_t call);
void     answer_free(answer_t *answer);

// # Time

uint64_t now_ns(void);
#define MILLISECOND ((uint64_t)1000000)
#define SECOND      (1000 * MILLISECOND)

// # Tests

typedef struct {
   const char *name;
   const char *sentence;
   void (*run)(void);
} test_t;

extern const test_t   tests[];
extern const uint32_t test_count;
