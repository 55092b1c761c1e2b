#pragma once
#include <knap_engine.h>
#include <stdbool.h>
#include <stdint.h>

// # The black box
//
// A page of a file that survives the process: when plugin code in this process crashes or calls exit(3), a handler writes
// into it what happened, where and in whose code, and the next start reads it. It costs calls nothing: the handler asks
// the call engine what the thread was running, and looks addresses up in a table of the loaded images.
//
//      start ── state RUNNING ──┬── orderly stop ──── STOPPED
//                               ├── a signal ──────── CRASHED, with `crash`
//                               ├── exit(3) ───────── EXITED, with `crash`
//                               └── kill -9, power ── stays RUNNING; `steps` say what hooks were running
//
//      box.c       the page, and what is noted in it while all is well
//      images.c    which address belongs to whom
//      handler.c   signals and exits: async-signal-safe from end to end
//      threads.c   a second stack for every thread, so that an overflow of the first can be handled
//
// One a process, whose pointers live as long as it. Nothing here may be called before knap_black_box_open or _map.

enum { KNAP_BOX_VERSION = 1, KNAP_BOX_STEPS = 64, KNAP_BOX_SERVING = 4 };

typedef enum { KNAP_BOX_RUNNING = 1, KNAP_BOX_STOPPED, KNAP_BOX_CRASHED, KNAP_BOX_EXITED } knap_box_state_t;

// How the culprit was found: the instruction is in its code; it was running on the thread by the engine's account; its
// code is among the thread's callers; not at all.
typedef enum { KNAP_BLAME_NOBODY, KNAP_BLAME_INSTRUCTION, KNAP_BLAME_FRAME, KNAP_BLAME_STACK } knap_blame_t;

// A hook that began and did not end. Unused: `plugin` is empty.
typedef struct knap_box_step {
   char     plugin[128], digest[80], hook[24];
   uint32_t generation, used;
} knap_box_step_t;

typedef struct knap_box_crash {
   uint32_t stage;        // 0: none, 1: signal and instruction are known, 2: whole
   int32_t  signal, code; // siginfo_t; signal 0: exit
   int32_t  status;       // of exit
   int32_t  sender;       // who sent the signal, if somebody did
   uint32_t blame;        // knap_blame_t
   uint32_t generation;
   uint32_t serving_count;
   int64_t  time_ms;      // since 1970
   uint64_t address;      // that could not be accessed
   uint64_t instruction, offset; // the latter in `module`
   uint64_t frame_offset; // in the culprit's library: its innermost frame; 0: unknown
   uint64_t data_bytes, data_limit; // RLIMIT_DATA
   char     module[256];  // the plugin whose library it is, or the image's file; empty: none
   char     plugin[128], digest[80]; // the culprit
   char     what[160];    // the method or hook it was running; empty: unknown
   char     serving[KNAP_BOX_SERVING][160]; // methods of its that had not completed
} knap_box_crash_t;

typedef struct knap_box_page {
   char     magic[8];
   uint32_t version, state; // knap_box_state_t
   int32_t  process;
   uint32_t reserved;
   int64_t  started_ms;
   knap_box_crash_t crash;
   knap_box_step_t  steps[KNAP_BOX_STEPS];
} knap_box_page_t;

// Opens or makes the file and begins a new record in it. `last` gets the one before; its version is 0 when there was none
// that this version can read. False: errno says why.
bool knap_black_box_open(const char *path, knap_box_page_t *last);
// The same in memory that another process made; see knap_black_box_memory.
bool knap_black_box_map(int descriptor);
// A sealed memory file of a page for another process, and its mapping here; -1: errno says why.
int knap_black_box_memory(const knap_box_page_t **page);
void knap_black_box_unmap(const knap_box_page_t *page);
// Copies what another process wrote into its page: whatever that is, its texts are printable and end. False: it is no record.
bool knap_black_box_read(const knap_box_page_t *page, knap_box_page_t *copy);

// From here on crashes and exits are recorded. In the main thread, before others exist.
void knap_black_box_arm(void);
// Whose calls to look at.
void knap_black_box_engine(const knap_engine_t *engine);
// The process ends because it was told to.
void knap_black_box_stopped(void);

// The code of one generation of a plugin.
typedef struct knap_code knap_code_t;
const knap_code_t *knap_black_box_code(const char *plugin, uint32_t generation, const char *digest);
// Notes all images that are loaded by now; that of `library`, a handle of dlopen(3), is the code's.
void knap_black_box_loaded(const knap_code_t *code, void *library);
// A hook begins; the number is for its end. Hooks past the page's room are not noted (UINT32_MAX).
uint32_t knap_black_box_step(const knap_code_t *code, const char *hook);
void knap_black_box_step_ends(uint32_t step);
