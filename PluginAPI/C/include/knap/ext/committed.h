#pragma once
#include "../host.h"

// # Committed
//
// Told when an upgrade stands: the new generation has served through its probation, and the host will not return to the
// code before it. Until then what is on disk changes only by addition, so that the old code can still read it; from here
// on old forms may be converted and removed. An instance that nothing can be returned from (a first start, a restart)
// is told right after its activation, so the hook may run for every instance and must find nothing to do the second
// time.

#define KNAP_EXT_COMMITTED "knap.committed/1"

// Offered by the plugin.
typedef struct knap_plugin_committed {
   uint32_t size;
   uint32_t reserved;
   // Completes `call` within the time for `activate`, serving meanwhile. A failure is logged and changes nothing.
   // [control & active]
   void (*committed)(void *instance, knap_call_t call);
} knap_plugin_committed_t;
