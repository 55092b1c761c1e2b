#pragma once
#include <knap_black_box.h>
#include <knap_link.h>
#include <sys/types.h>

// # knap-worker
//
// One process for one instance of one plugin. It runs the same call engine as the host, joined to it by a link
// (Host/Link) for calls, and by a socket for everything rare: what to load, the host's extensions, descriptors. It
// sandboxes itself before it loads the plugin, and ends with its host. Should it end otherwise, its black box says why
// (Host/BlackBox).
//
//    main.c        start, and the loop that takes calls
//    plugin.c      the library, its instance and its hooks
//    extensions.c  what the plugin may ask of its host
//    control.c     the socket
//    sandbox.c     what the process may do

// Descriptors that the host hands over.
enum { WORKER_CONTROL = 3, WORKER_MEMORY = 4, WORKER_HOST_DOORBELL = 5, WORKER_BLACK_BOX = 6 };

// Methods of the worker itself, at the link.
enum {
   SPECIAL_CREATE = KNAP_LINK_SPECIAL, SPECIAL_PREPARE, SPECIAL_ACTIVATE, SPECIAL_SUSPEND, SPECIAL_DESTROY,
   SPECIAL_SAVE, SPECIAL_LOAD, SPECIAL_HEALTH, SPECIAL_DRAIN_BEGIN, SPECIAL_DRAIN_ABANDON,
   SPECIAL_REGISTRY_CHANGED, SPECIAL_CONNECTED, SPECIAL_COMMITTED,
};

// Frames on the socket: u32 size of what follows the header, u16 operation, u16 status; integers little-endian; text is
// u32 size and bytes. Every operation of the worker but LOADED, FAILED, LOG and HELD is answered by one frame of the same operation.
enum {
   CONTROL_START = 1,  // host: see main.c
   CONTROL_LOADED,     // name, version, u32 count, methods' names, u32 sandbox level, sandbox's remarks
   CONTROL_FAILED,     // message
   CONTROL_LOG,        // u32 level, message, u32 count, keys and values
   CONTROL_BIND,       // method, range -> u64 binding
   CONTROL_DESCRIBE,   // service -> JSON
   CONTROL_REGISTRY_READ,  // point -> JSON
   CONTROL_REGISTRY_WATCH, // point, u64 id
   CONTROL_REGISTRY_UNWATCH, // u64 id
   CONTROL_KEEP,       // name and a descriptor
   CONTROL_TAKE,       // name -> a descriptor
   CONTROL_DROP,       // name
   CONTROL_CONNECT,    // name, u32 port, u64 deadline, u64 id
   CONTROL_CONNECTED,  // u64 id -> a descriptor
   CONTROL_HELD,       // u32 stage (knap_held_stage_t), u64 nanoseconds, method
};

typedef struct frame {
   uint32_t size;
   uint16_t operation, status;
} frame_t;

// A frame's body being written or read.
typedef struct text_buffer {
   uint8_t *data;
   uint64_t size, capacity, at;
} text_buffer_t;

void put_u32(text_buffer_t *buffer, uint32_t value);
void put_u64(text_buffer_t *buffer, uint64_t value);
void put_text(text_buffer_t *buffer, knap_text_t text);
uint32_t get_u32(text_buffer_t *buffer);
uint64_t get_u64(text_buffer_t *buffer);
char *get_text(text_buffer_t *buffer, uint64_t *size); // allocated, terminated

// control.c
// Sends a frame and waits for its answer, whose body goes to `answer` (freed by the caller; may be null). Ends the process
// when the host is gone. [any thread]
knap_status_t control_ask(uint16_t operation, text_buffer_t *body, int send_descriptor, text_buffer_t *answer,
                          int *descriptor);
void control_tell(uint16_t operation, text_buffer_t *body);
void control_receive_start(text_buffer_t *body);
_Noreturn void worker_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The one plugin of the process.
typedef struct worker {
   pid_t    host;
   char *library, *name, *version, *configuration, *state_directory;
   uint64_t configuration_size;
   uint32_t method_count;
   char   **methods;      // as the manifest has them
   uint8_t *blocking;
   uint64_t *timeouts;    // default deadlines; 0: none
   uint64_t watchdog_ns;
   knap_engine_t *engine;
   knap_party_t  *plugin_party, *host_party;
   knap_link_t   *link;
   const knap_plugin_t *table;
   void          *instance;
   uint64_t      *bindings; // of the host's party, to the plugin's methods
} worker_t;
extern worker_t worker;

// main.c
// Has the kernel end the process with the host, or ends it when the host is gone already.
void die_with_host(void);

// plugin.c
void plugin_load(void);
void plugin_report(uint32_t sandbox_level, const char *remarks);
void plugin_route(void);
knap_status_t plugin_special(uint32_t method, const knap_outgoing_t *outgoing, knap_call_t *call);

// extensions.c
const void *extension_table(const knap_host_t *host, const char *id);
void extension_registry_changed(knap_bytes_t body);
void extension_connected(knap_bytes_t body);
void extension_unwatch_all(void);
