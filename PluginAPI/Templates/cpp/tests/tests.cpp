#include <knap-sdk/testing.h>
#include <cstdio>

static int failed;

static void expect(knap_test_t *test, const char *input, knap_status_t status, const char *body) {
   knap_test_answer_t answer = knap_test_call(test, "@service@.count_words", input);
   if (answer.status != status || strcmp(answer.body, body)) {
      std::printf("%s: expected %d %s, got %d %s %s\n", input, status, body, answer.status, answer.body, answer.message);
      failed++;
   }
   knap_test_free(&answer);
}

int main(void) {
   knap_test_t test;
   if (!knap_test_open(&test, knap_plugin_draft())) return 1;
   expect(&test, "{\"text\":\"two words\"}", KNAP_OK, "{\"words\":2}");
   expect(&test, "{\"text\":\" tabs\\tand\\nlines  \"}", KNAP_OK, "{\"words\":3}");
   expect(&test, "{\"text\":\"\"}", KNAP_OK, "{\"words\":0}");
   expect(&test, "{}", KNAP_INVALID_ARGUMENT, "");
   expect(&test, "no JSON", KNAP_INVALID_ARGUMENT, "");
   knap_test_close(&test);
   std::puts(failed ? "failed" : "all tests passed");
   return failed != 0;
}
