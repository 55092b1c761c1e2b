#pragma once
#include "../host.h"

// # Interception
//
// Decides whether a call may run: authorization, quotas, maintenance. Needs the permission `intercept`. Interceptors
// are asked in the order of their plugins' names; the first that refuses decides. It fails closed: while a plugin
// whose interceptor the operator demands is not active, calls are refused with UNAVAILABLE.

#define KNAP_EXT_INTERCEPT "knap.intercept/1"

// Offered by the plugin.
typedef struct knap_plugin_intercept {
   uint32_t size;
   uint32_t reserved;
   // OK lets the call pass. Anything else refuses it; `message`, borrowed until the next call of `decide` on this
   // thread, tells the caller why. Returns within microseconds and makes no calls. [call & active]
   knap_status_t (*decide)(void *instance, const knap_call_info_t *call, knap_bytes_t body, knap_text_t *message);
} knap_plugin_intercept_t;
