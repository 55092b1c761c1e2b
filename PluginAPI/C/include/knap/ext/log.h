#pragma once
#include "../host.h"

// # Log
//
// Structured records for the host's log: a message that does not vary, and the fields that do. The host adds the
// plugin, its generation and, where a call is named, its trace. Records of a plugin that floods are limited and the
// number dropped is logged.

#define KNAP_EXT_LOG "knap.log/1"

enum {
   KNAP_LOG_TRACE = 0,
   KNAP_LOG_DEBUG = 1,
   KNAP_LOG_INFO  = 2,
   KNAP_LOG_WARN  = 3,
   KNAP_LOG_ERROR = 4,
};

typedef struct knap_log_field {
   knap_text_t key;
   knap_text_t value;
} knap_log_field_t;

// Offered by the host.
typedef struct knap_host_log {
   uint32_t size;
   uint32_t reserved;
   // Whether a record of this level would be kept: ask before formatting costs. [any-thread]
   int32_t (*enabled)(const knap_host_t *host, int32_t level);
   // `call` is the call that the record is about, or 0. [any-thread]
   void (*write)(const knap_host_t *host, int32_t level, knap_call_t call, knap_text_t message,
                 const knap_log_field_t *fields, uint32_t field_count);
} knap_host_log_t;
