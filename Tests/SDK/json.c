// What knap-sdk/json.h reads and writes: tables of texts, every cut of one, and random bytes (seeded, printed).
#include <assert.h>
#include <knap-sdk/json.h>

static int failed;
#define CHECK(what) ((what) ? (void)0 : (void)(failed++, printf("json.c:%d: %s\n", __LINE__, #what)))

static knap_bytes_t bytes(const char *text) { return (knap_bytes_t){(const uint8_t *)text, strlen(text)}; }

static void values(void) {
   const char *good[] = {"null", "true", "-0", "1.5e-3", "\"\"", "[]", "{}", " [1, [2, {\"a\": null}]] ", "\"\\ud83e\\udd80\""};
   for (size_t i = 0; i < sizeof good / sizeof *good; i++) CHECK(knap_json_parse(bytes(good[i])).at);
   const char *bad[] = {"", " ", "01", "+1", ".5", "1.", "1e", "[1,]", "[1 2]", "{\"a\"}", "{a:1}", "'a'", "nul", "\"\t\"", "\"\\x\"",
                        "\"\\u12\"", "1 2", "\"a", "[", "{\"a\":1", "]"};
   for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!knap_json_parse(bytes(bad[i])).at);
}

static void look_ups(void) {
   knap_json_t json = knap_json_parse(bytes("{\"a\": {\"b\": [1, \"two\", {\"c\": true}]}, \"n\": -12, \"a b\\n\": 3e2, \"n\": 7}"));
   knap_json_t list = knap_json_get(knap_json_get(json, "a"), "b"), each = knap_json_none;
   int         count = 0;
   while (knap_json_next(list, NULL, &each)) count++;
   CHECK(count == 3);
   bool    truth = false;
   int64_t whole = 0;
   CHECK(knap_json_boolean(knap_json_get(each, "c"), &truth) && truth);
   CHECK(knap_json_integer(knap_json_get(json, "n"), &whole) && whole == 7);
   CHECK(knap_json_integer(knap_json_get(json, "a b\n"), &whole) && whole == 300);
   CHECK(!knap_json_get(json, "absent").at && !knap_json_get(list, "b").at && !knap_json_get(knap_json_none, "b").at);
   CHECK(!knap_json_integer(knap_json_get(json, "a"), &whole) && !knap_json_copy(knap_json_get(json, "n")));
}

static void numbers(void) {
   int64_t whole;
   double  real;
   CHECK(knap_json_integer(knap_json_parse(bytes("9223372036854775807")), &whole) && whole == INT64_MAX);
   CHECK(knap_json_integer(knap_json_parse(bytes("-9223372036854775808")), &whole) && whole == INT64_MIN);
   CHECK(!knap_json_integer(knap_json_parse(bytes("9223372036854775808")), &whole));
   CHECK(!knap_json_integer(knap_json_parse(bytes("1.5")), &whole));
   CHECK(knap_json_number(knap_json_parse(bytes("-2.5e3")), &real) && real == -2500);
   CHECK(!knap_json_number(knap_json_parse(bytes("1e999")), &real));
}

static void texts(void) {
   char small[4];
   CHECK(knap_json_text(knap_json_parse(bytes("\"abcdef\"")), small, sizeof small) == 6 && !strcmp(small, "abc"));
   char *text = knap_json_copy(knap_json_parse(bytes("\"\\ud83e\\udd80 \\u00fc \\ud800 \\/\\n\"")));
   CHECK(text && !strcmp(text, "🦀 ü \xEF\xBF\xBD /\n"));
   free(text);
   knap_json_writer_t json = {0};
   knap_json_open(&json, '{');
   knap_json_put_name(&json, "quote \"");
   knap_json_put_text(&json, "line\nü\x01\\");
   knap_json_put_name(&json, "list");
   knap_json_open(&json, '[');
   knap_json_put_integer(&json, INT64_MIN);
   knap_json_put_number(&json, 0.5);
   knap_json_put_number(&json, INFINITY);
   knap_json_put_boolean(&json, false);
   knap_json_close(&json, ']');
   knap_json_close(&json, '}');
   CHECK(!strcmp(json.data, "{\"quote \\\"\":\"line\\nü\\u0001\\\\\",\"list\":[-9223372036854775808,0.5,null,false]}"));
   CHECK(knap_json_parse(knap_json_finish(&json)).at);
   free(json.data);
}

// Reads everything that there is; AddressSanitizer tells what is read beside it.
static void walk(knap_json_t value) {
   knap_json_t name = knap_json_none, each = knap_json_none;
   double      real;
   int64_t     whole;
   free(knap_json_copy(value));
   knap_json_number(value, &real);
   knap_json_integer(value, &whole);
   while (knap_json_next(value, &name, &each)) {
      free(knap_json_copy(name));
      walk(each);
   }
   knap_json_get(value, "a");
}

static void of_exact_size(const char *text, size_t size) {
   uint8_t *copy = malloc(size ? size : 1);
   memcpy(copy, text, size);
   walk(knap_json_parse((knap_bytes_t){copy, size}));
   free(copy);
}

static void any_bytes(unsigned seed) {
   printf("seed %u\n", seed);
   const char *whole = "{\"a\":[1,-2.5e3,\"t\\u00fc\\ud83e\\udd80\\n\",true,null],\"b\":{\"c\":\"\"}}";
   for (size_t size = 0; size <= strlen(whole); size++) of_exact_size(whole, size);
   const char letters[] = "{}[]\",:\\u0123dtrue-+.eE \n\x01\xff";
   for (int round = 0; round < 200000; round++) {
      char   text[64];
      size_t size = (size_t)rand_r(&seed) % sizeof text;
      for (size_t i = 0; i < size; i++) text[i] = letters[(size_t)rand_r(&seed) % (sizeof letters - 1)];
      // Half of them are a good one with some bytes changed.
      if (round % 2) {
         size = strlen(whole);
         memcpy(text, whole, size);
         for (int i = 0; i < 3; i++) text[(size_t)rand_r(&seed) % size] = letters[(size_t)rand_r(&seed) % (sizeof letters - 1)];
      }
      of_exact_size(text, size);
   }
   size_t deep = 1 << 20;
   char  *brackets = malloc(deep);
   memset(brackets, '[', deep);
   of_exact_size(brackets, deep);
   free(brackets);
}

int main(int count, char **arguments) {
   values();
   look_ups();
   numbers();
   texts();
   any_bytes(count > 1 ? (unsigned)atoi(arguments[1]) : 20261128);
   puts(failed ? "failed" : "passed");
   return failed != 0;
}
