#pragma once
#include "../host.h"

// # Services
//
// How a plugin calls others. It binds a method once, by name and version range, and calls through the binding as
// often as it likes; the binding outlives reloads and restarts of the provider, which it never names. While nobody
// provides the method, calls answer UNAVAILABLE.
//
// Every call names the call that it serves, its parent, or none. From the parent the host takes principal, trace and
// deadline, whatever the caller says: a child's deadline is never later than its parent's. A parent that is not in
// flight on the calling plugin is INVALID_ARGUMENT.

#define KNAP_EXT_SERVICES "knap.services/1"

typedef uint64_t knap_binding_t;

enum {
   KNAP_OUTGOING_STREAMS = 1u << 0, // items follow the request; otherwise the input is half-closed from the start
   // The caller has something else to do first, such as more calls, and will then `wait` for this one: an answer that
   // another process gives soon stays there until then, or until this process takes others. Of calls without items.
   KNAP_OUTGOING_WAITS   = 1u << 1,
};

typedef struct knap_outgoing {
   uint32_t             size;
   uint32_t             flags;
   knap_call_t          parent;      // the call being served, or 0
   uint64_t             deadline_ns; // CLOCK_MONOTONIC; 0: the method's default
   knap_bytes_t         body;
   knap_buffer_t       *buffer;      // the host's buffer that holds `body`, or null
   uint32_t             credit;      // items that may be sent back from the start
   uint32_t             reserved;
   knap_text_t          principal;   // needs the permission `assert_principal` and no parent; else empty
   knap_text_t          trace;       // W3C traceparent of a call without a parent; else empty
   const knap_caller_t *caller;
   void                *context;
} knap_outgoing_t;

// Offered by the host.
typedef struct knap_host_services {
   uint32_t size;
   uint32_t reserved;

   // Binds "service.method" to whoever provides it now or later in the given range (empty: any). PERMISSION_DENIED
   // where the plugin neither requires the service nor was granted it. [any-thread]
   knap_status_t (*bind)(const knap_host_t *host, knap_text_t method, knap_text_t range, knap_binding_t *binding);

   // Gives a binding back; calls in flight go on. [any-thread]
   void (*unbind)(const knap_host_t *host, knap_binding_t binding);

   // Calls. Whenever this returns OK, `caller->complete` runs exactly once, possibly before this returns; otherwise
   // nothing was called and nothing will be. `call`, when not null, is set before the first callback.
   // [any-thread]
   knap_status_t (*call)(const knap_host_t *host, knap_binding_t binding, const knap_outgoing_t *outgoing,
                         knap_call_t *call);

   // Writes what provides a service ("" for all) as JSON: [{"service", "version", "plugin", "state", "methods"}].
   // [any-thread]
   knap_status_t (*describe)(const knap_host_t *host, knap_text_t service, const knap_writer_t *out);
} knap_host_services_t;
