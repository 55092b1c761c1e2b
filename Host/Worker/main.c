#include "sandbox.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

// Starts: dies with the host, reads what to load, gives its rights away, loads, and takes calls until the host ends it.

worker_t worker;

static knap_status_t take_call(void *context, uint32_t method, const knap_outgoing_t *outgoing, const knap_origin_t *origin,
                               knap_call_t *call) {
   (void)context;
   if (method >= KNAP_LINK_SPECIAL) return plugin_special(method, outgoing, call);
   if (!worker.bindings || method >= worker.table->method_count) return KNAP_UNIMPLEMENTED;
   return knap_engine_call_for(knap_party_host(worker.host_party), worker.bindings[method], outgoing, origin, call);
}

void die_with_host(void) {
   prctl(PR_SET_PDEATHSIG, SIGKILL);
   if (getppid() != worker.host) _exit(0); // the host ended before the line above
}

// u32 parent, library, name, version, configuration, state directory, u32 count, (method, u32 blocking, u64 time-out)..., u64 watchdog, sandbox
static void read_start(sandbox_request_t *request) {
   text_buffer_t start;
   control_receive_start(&start);
   worker.host = (pid_t)get_u32(&start);
   die_with_host();
   worker.library = get_text(&start, NULL);
   worker.name = get_text(&start, NULL);
   worker.version = get_text(&start, NULL);
   worker.configuration = get_text(&start, &worker.configuration_size);
   worker.state_directory = get_text(&start, NULL);
   worker.method_count = get_u32(&start);
   worker.methods = calloc(worker.method_count + 1, sizeof *worker.methods);
   worker.blocking = calloc(worker.method_count + 1, 1);
   worker.timeouts = calloc(worker.method_count + 1, sizeof *worker.timeouts);
   if (!worker.methods || !worker.blocking || !worker.timeouts) _exit(70);
   for (uint32_t i = 0; i < worker.method_count; i++) {
      worker.methods[i] = get_text(&start, NULL);
      worker.blocking[i] = get_u32(&start) != 0;
      worker.timeouts[i] = get_u64(&start);
   }
   worker.watchdog_ns = get_u64(&start);
   sandbox_read(request, &start);
   free(start.data);
}

static void join_host(void) {
   void *memory = mmap(NULL, KNAP_LINK_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_MEMORY, 0);
   worker.engine = knap_engine_create(&(knap_engine_config_t){.pool_threads = 64});
   if (memory == MAP_FAILED || !worker.engine) worker_fail("%s: out of memory", worker.name);
   close(WORKER_MEMORY);
   worker.plugin_party = knap_party_create(worker.engine, &(knap_party_config_t){
      .name = worker.name, .extension = extension_table, .in_flight = 2 * KNAP_LINK_WINDOW, .generation = 1});
   worker.host_party = knap_party_create(worker.engine, &(knap_party_config_t){
      .name = "host", .in_flight = 2 * KNAP_LINK_WINDOW, .assert_principal = 1});
   if (!worker.plugin_party || !worker.host_party) worker_fail("%s: out of memory", worker.name);
   knap_party_open(worker.host_party, 1);
   worker.link = knap_link_create(&(knap_link_config_t){
      .party = worker.host_party, .memory = memory, .doorbell = -1, .other_doorbell = WORKER_HOST_DOORBELL,
      .call = take_call});
   if (!worker.link) worker_fail("%s: out of memory", worker.name);
}

// From here on the host learns where and in what the process ended.
static void keep_record(void) {
   if (!knap_black_box_map(WORKER_BLACK_BOX)) worker_fail("%s: the black box cannot be mapped: %s", worker.name, strerror(errno));
   close(WORKER_BLACK_BOX);
   knap_black_box_engine(worker.engine);
   knap_black_box_arm();
}

static void on_held(void *context, const knap_held_t *held) {
   (void)context;
   text_buffer_t body = {0};
   put_u32(&body, held->stage);
   put_u64(&body, held->lasted_ns);
   put_text(&body, (knap_text_t){held->running.what, strlen(held->running.what)});
   control_tell(CONTROL_HELD, &body);
}

// A thread of the worker's own; from here on it is as restricted as the plugin's. None may wait at the control socket: it
// would hold that open when the plugin closes all descriptors, and the host would not see it.
static void begin_watch(void) {
   knap_engine_watchdog(worker.engine, worker.watchdog_ns);
   if (!knap_engine_watch(worker.engine, on_held, NULL)) worker_fail("%s: out of memory", worker.name);
}

int main(void) {
   sandbox_request_t request = {0};
   read_start(&request);
   join_host();
   keep_record();
   char remarks[512] = "";
   uint32_t level = sandbox_enter(&request, remarks, sizeof remarks);
   begin_watch();
   plugin_load();
   plugin_report(level, remarks);
   while (knap_link_serve(worker.link)) {}
   worker_fail("%s: the host sent what is no message", worker.name);
}
