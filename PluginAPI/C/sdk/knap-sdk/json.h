#pragma once
// # JSON for plugins in C and C++ (RFC 8259)
//
// A value is read where it stands in the request's bytes: nothing is allocated, and any bytes are safe to read. What is
// absent or of another type reads as absent, so that a chain of look-ups needs one check at its end:
//
//      double price;
//      if (!knap_json_number(knap_json_get(knap_json_parse(request->body), "price"), &price)) ...
//
// Writing goes into a text that grows; a failed allocation is remembered and told by `knap_json_finish`.
#include <knap/types.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One value of a document; `at` is null for none. It lives as long as the bytes it was parsed from.
typedef struct knap_json {
   const char *at;
   const char *end;
} knap_json_t;

enum { KNAP_JSON_DEEPEST = 128 };

static const knap_json_t knap_json_none = {NULL, NULL};

// ## Scanning: each returns what follows, or null where the text is no JSON.

static inline const char *knap_json_blanks(const char *at, const char *end) {
   while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
   return at;
}

static inline int knap_json_hex(const char *at) {
   int value = 0;
   for (int i = 0; i < 4; i++) {
      char c = at[i];
      int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return -1;
      value = value * 16 + digit;
   }
   return value;
}

static inline const char *knap_json_scan_string(const char *at, const char *end) {
   if (at >= end || *at != '"') return NULL;
   for (at++; at < end; at++) {
      if (*at == '"') return at + 1;
      if ((unsigned char)*at < 0x20) return NULL;
      if (*at != '\\') continue;
      if (++at >= end) return NULL;
      if (*at == 'u') {
         if (end - at < 5 || knap_json_hex(at + 1) < 0) return NULL;
         at += 4;
      } else if (!strchr("\"\\/bfnrt", *at) || !*at) {
         return NULL;
      }
   }
   return NULL;
}

static inline const char *knap_json_scan_digits(const char *at, const char *end) {
   const char *start = at;
   while (at < end && *at >= '0' && *at <= '9') at++;
   return at == start ? NULL : at;
}

static inline const char *knap_json_scan_number(const char *at, const char *end) {
   if (at < end && *at == '-') at++;
   if (at < end && *at == '0') at++;
   else if (!(at = knap_json_scan_digits(at, end))) return NULL;
   if (at < end && *at == '.' && !(at = knap_json_scan_digits(at + 1, end))) return NULL;
   if (at < end && (*at == 'e' || *at == 'E')) {
      at++;
      if (at < end && (*at == '+' || *at == '-')) at++;
      at = knap_json_scan_digits(at, end);
   }
   return at;
}

static inline const char *knap_json_scan_word(const char *at, const char *end, const char *word) {
   size_t size = strlen(word);
   return (size_t)(end - at) >= size && !memcmp(at, word, size) ? at + size : NULL;
}

// One value from `at` on.
static inline const char *knap_json_scan(const char *at, const char *end, int depth) {
   if (at >= end || depth > KNAP_JSON_DEEPEST) return NULL;
   char first = *at;
   if (first == '"') return knap_json_scan_string(at, end);
   if (first == 't') return knap_json_scan_word(at, end, "true");
   if (first == 'f') return knap_json_scan_word(at, end, "false");
   if (first == 'n') return knap_json_scan_word(at, end, "null");
   if (first != '{' && first != '[') return knap_json_scan_number(at, end);
   char last = first == '{' ? '}' : ']';
   at = knap_json_blanks(at + 1, end);
   if (at < end && *at == last) return at + 1;
   while (at < end) {
      if (first == '{') {
         if (!(at = knap_json_scan_string(at, end))) return NULL;
         at = knap_json_blanks(at, end);
         if (at >= end || *at != ':') return NULL;
         at = knap_json_blanks(at + 1, end);
      }
      if (!(at = knap_json_scan(at, end, depth + 1))) return NULL;
      at = knap_json_blanks(at, end);
      if (at < end && *at == last) return at + 1;
      if (at >= end || *at != ',') return NULL;
      at = knap_json_blanks(at + 1, end);
   }
   return NULL;
}

// ## Reading

// The document's value; none where the bytes are not one JSON value.
static inline knap_json_t knap_json_parse(knap_bytes_t bytes) {
   if (!bytes.size) return knap_json_none;
   const char *start = (const char *)bytes.data, *end = start + bytes.size;
   const char *at = knap_json_blanks(start, end), *after = knap_json_scan(at, end, 0);
   if (!after || knap_json_blanks(after, end) != end) return knap_json_none;
   knap_json_t value = {at, after};
   return value;
}

// Puts the text of a string, unescaped, as UTF-8 and terminated, into `out`. Returns its size without the terminator:
// when that is `capacity` or more it was cut. -1 for what is no string. Lone surrogates become U+FFFD.
static inline int64_t knap_json_text(knap_json_t value, char *out, uint64_t capacity) {
   if (!value.at || *value.at != '"') return -1;
   uint64_t size = 0;
#define KNAP_JSON_PUT(byte) do { if (size + 1 < capacity) out[size] = (char)(byte); size++; } while (0)
   for (const char *at = value.at + 1; at < value.end - 1; at++) {
      if (*at != '\\') {
         KNAP_JSON_PUT(*at);
         continue;
      }
      at++;
      uint32_t code;
      switch (*at) {
      case 'b': code = '\b'; break;
      case 'f': code = '\f'; break;
      case 'n': code = '\n'; break;
      case 'r': code = '\r'; break;
      case 't': code = '\t'; break;
      case 'u':
         code = (uint32_t)knap_json_hex(at + 1);
         at += 4;
         if (code >= 0xD800 && code < 0xDC00 && value.end - at > 7 && at[1] == '\\' && at[2] == 'u') {
            int low = knap_json_hex(at + 3);
            if (low >= 0xDC00 && low < 0xE000) {
               code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
               at += 6;
            }
         }
         if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
         break;
      default: code = (unsigned char)*at;
      }
      if (code < 0x80) {
         KNAP_JSON_PUT(code);
      } else if (code < 0x800) {
         KNAP_JSON_PUT(0xC0 | code >> 6);
         KNAP_JSON_PUT(0x80 | (code & 0x3F));
      } else if (code < 0x10000) {
         KNAP_JSON_PUT(0xE0 | code >> 12);
         KNAP_JSON_PUT(0x80 | (code >> 6 & 0x3F));
         KNAP_JSON_PUT(0x80 | (code & 0x3F));
      } else {
         KNAP_JSON_PUT(0xF0 | code >> 18);
         KNAP_JSON_PUT(0x80 | (code >> 12 & 0x3F));
         KNAP_JSON_PUT(0x80 | (code >> 6 & 0x3F));
         KNAP_JSON_PUT(0x80 | (code & 0x3F));
      }
   }
#undef KNAP_JSON_PUT
   if (capacity) out[size < capacity ? size : capacity - 1] = 0;
   return (int64_t)size;
}

// The text of a string in memory that the caller frees; null for what is no string, or without memory.
static inline char *knap_json_copy(knap_json_t value) {
   int64_t size = knap_json_text(value, NULL, 0);
   char *out = size < 0 ? NULL : (char *)malloc((size_t)size + 1);
   if (out) knap_json_text(value, out, (uint64_t)size + 1);
   return out;
}

static inline bool knap_json_number(knap_json_t value, double *out) {
   char text[64];
   if (!value.at || !knap_json_scan_number(value.at, value.end)) return false;
   size_t size = (size_t)(value.end - value.at);
   if (size >= sizeof text) {
      char *copy = (char *)malloc(size + 1);
      if (!copy) return false;
      memcpy(copy, value.at, size);
      copy[size] = 0;
      *out = strtod(copy, NULL);
      free(copy);
      return isfinite(*out);
   }
   memcpy(text, value.at, size);
   text[size] = 0;
   *out = strtod(text, NULL);
   return isfinite(*out);
}

// A number without a fraction that fits; also one that is written as 3.0 or 3e2.
static inline bool knap_json_integer(knap_json_t value, int64_t *out) {
   double number;
   if (!knap_json_number(value, &number)) return false;
   const char *at = value.at + (*value.at == '-');
   int64_t sum = 0;
   while (at < value.end && *at >= '0' && *at <= '9') {
      if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, *at - '0', &sum)) return false;
      at++;
   }
   if (at == value.end) {
      if (*value.at != '-' && sum == INT64_MIN) return false;
      *out = *value.at == '-' ? sum : -sum;
      return true;
   }
   if (number != floor(number) || number < -9223372036854775808.0 || number >= 9223372036854775808.0) return false;
   *out = (int64_t)number;
   return true;
}

static inline bool knap_json_boolean(knap_json_t value, bool *out) {
   if (!value.at || (*value.at != 't' && *value.at != 'f')) return false;
   *out = *value.at == 't';
   return true;
}

static inline bool knap_json_is_null(knap_json_t value) { return value.at && *value.at == 'n'; }
static inline bool knap_json_is_object(knap_json_t value) { return value.at && *value.at == '{'; }
static inline bool knap_json_is_array(knap_json_t value) { return value.at && *value.at == '['; }

// Goes through an object or an array: `*value` is none before the first call. `name`, when not null, gets the member's
// name, a string. False after the last.
static inline bool knap_json_next(knap_json_t container, knap_json_t *name, knap_json_t *value) {
   if (!knap_json_is_object(container) && !knap_json_is_array(container)) return false;
   const char *end = container.end - 1;
   const char *at = knap_json_blanks(value->at ? value->end : container.at + 1, end);
   if (value->at && at < end) at = knap_json_blanks(at + 1, end);
   if (at >= end) return false;
   if (*container.at == '{') {
      const char *after = knap_json_scan_string(at, end);
      if (!after) return false;
      if (name) name->at = at, name->end = after;
      at = knap_json_blanks(knap_json_blanks(after, end) + 1, end);
   }
   const char *after = knap_json_scan(at, end, 0);
   if (!after) return false;
   value->at = at, value->end = after;
   return true;
}

// The member of an object; none where it is absent or `object` is none. Of two of one name it is the last.
static inline knap_json_t knap_json_get(knap_json_t object, const char *name) {
   knap_json_t found = knap_json_none, key = knap_json_none, value = knap_json_none;
   if (!knap_json_is_object(object)) return found;
   size_t size = strlen(name);
   char text[256];
   while (knap_json_next(object, &key, &value)) {
      int64_t length = knap_json_text(key, text, sizeof text);
      if (length == (int64_t)size && size < sizeof text && !memcmp(text, name, size)) found = value;
   }
   return found;
}

// ## Writing

// A text that grows. Start with `knap_json_writer_t json = {0}` and free `json.data` in the end.
typedef struct knap_json_writer {
   char    *data;
   uint64_t size;
   uint64_t capacity;
   bool     has_failed;
   bool     needs_comma;
} knap_json_writer_t;

static inline void knap_json_raw(knap_json_writer_t *json, const char *text, uint64_t size) {
   if (json->has_failed) return;
   if (json->size + size + 1 > json->capacity) {
      uint64_t capacity = (json->size + size + 1) * 2;
      char *data = (char *)realloc(json->data, capacity);
      if (!data) {
         json->has_failed = true;
         return;
      }
      json->data = data;
      json->capacity = capacity;
   }
   memcpy(json->data + json->size, text, size);
   json->size += size;
   json->data[json->size] = 0;
}

static inline void knap_json_begin_value(knap_json_writer_t *json) {
   if (json->needs_comma) knap_json_raw(json, ",", 1);
   json->needs_comma = true;
}

static inline void knap_json_open(knap_json_writer_t *json, char bracket) {
   knap_json_begin_value(json);
   knap_json_raw(json, &bracket, 1);
   json->needs_comma = false;
}

static inline void knap_json_close(knap_json_writer_t *json, char bracket) {
   knap_json_raw(json, &bracket, 1);
   json->needs_comma = true;
}

static inline void knap_json_put_text_of(knap_json_writer_t *json, const char *text, uint64_t size) {
   knap_json_begin_value(json);
   knap_json_raw(json, "\"", 1);
   uint64_t start = 0;
   for (uint64_t i = 0; i < size; i++) {
      unsigned char c = (unsigned char)text[i];
      if (c >= 0x20 && c != '"' && c != '\\') continue;
      char escape[8];
      int length = c == '"' || c == '\\' ? snprintf(escape, sizeof escape, "\\%c", c)
                   : c == '\n'           ? snprintf(escape, sizeof escape, "\\n")
                                         : snprintf(escape, sizeof escape, "\\u%04x", c);
      knap_json_raw(json, text + start, i - start);
      knap_json_raw(json, escape, (uint64_t)length);
      start = i + 1;
   }
   knap_json_raw(json, text + start, size - start);
   knap_json_raw(json, "\"", 1);
}

// UTF-8.
static inline void knap_json_put_text(knap_json_writer_t *json, const char *text) {
   knap_json_put_text_of(json, text, strlen(text));
}

static inline void knap_json_put_name(knap_json_writer_t *json, const char *name) {
   knap_json_put_text(json, name);
   knap_json_raw(json, ":", 1);
   json->needs_comma = false;
}

static inline void knap_json_put_integer(knap_json_writer_t *json, int64_t value) {
   char text[32];
   knap_json_begin_value(json);
   knap_json_raw(json, text, (uint64_t)snprintf(text, sizeof text, "%lld", (long long)value));
}

// What is not finite becomes null, because JSON has no word for it.
static inline void knap_json_put_number(knap_json_writer_t *json, double value) {
   char text[32];
   knap_json_begin_value(json);
   if (!isfinite(value)) knap_json_raw(json, "null", 4);
   else knap_json_raw(json, text, (uint64_t)snprintf(text, sizeof text, "%.17g", value));
}

static inline void knap_json_put_boolean(knap_json_writer_t *json, bool value) {
   knap_json_begin_value(json);
   knap_json_raw(json, value ? "true" : "false", value ? 4 : 5);
}

// The document, or no bytes without memory.
static inline knap_bytes_t knap_json_finish(const knap_json_writer_t *json) {
   knap_bytes_t bytes = {(const uint8_t *)json->data, json->has_failed ? 0 : json->size};
   return bytes;
}
