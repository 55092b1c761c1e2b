// knap-checker TEST FILE: runs one test of the plugin that the file describes, in this process.
// knap-checker --list: the tests, one JSON object a line.
#include "checker.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

subject_t subject;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int             faults, output = 3;

static void line(const char *kind, const char *text) {
   knap_json_writer_t json = {0};
   knap_json_open(&json, '{');
   knap_json_put_name(&json, kind);
   knap_json_put_text(&json, text);
   knap_json_close(&json, '}');
   knap_json_raw(&json, "\n", 1);
   // In one write, because the process may end in the next moment.
   if (write(output, json.data, json.size) != (ssize_t)json.size) _exit(70);
   free(json.data);
}

#define SAY(kind) \
   char    text[1024]; \
   va_list arguments; \
   va_start(arguments, format); \
   vsnprintf(text, sizeof text, format, arguments); \
   va_end(arguments); \
   pthread_mutex_lock(&lock); \
   if (faults < 5 || strcmp(kind, "fault")) line(kind, text); \
   faults += !strcmp(kind, "fault"); \
   pthread_mutex_unlock(&lock)

void fault(const char *format, ...) { SAY("fault"); }
void skip(const char *format, ...) { SAY("skip"); }
void warn(const char *format, ...) { SAY("warning"); }
bool has_faults(void) {
   pthread_mutex_lock(&lock);
   bool some = faults > 0;
   pthread_mutex_unlock(&lock);
   return some;
}

void end_test(void) {
   pthread_mutex_lock(&lock);
   line("end", "");
   // Not by exit: what a plugin left for the end is not what is tested.
   _exit(0);
}

void report_answer(const method_t *method, const char *input, knap_status_t status, knap_bytes_t body) {
   knap_json_writer_t json = {0};
   knap_json_open(&json, '{');
   knap_json_put_name(&json, "answer");
   knap_json_put_text_of(&json, (const char *)body.data, body.size);
   knap_json_put_name(&json, "method");
   knap_json_put_text(&json, method->name);
   knap_json_put_name(&json, "input");
   knap_json_put_text(&json, input);
   knap_json_put_name(&json, "status");
   knap_json_put_integer(&json, status);
   knap_json_close(&json, '}');
   knap_json_raw(&json, "\n", 1);
   if (json.has_failed || write(output, json.data, json.size) != (ssize_t)json.size) _exit(70);
   free(json.data);
}

static char *read_file(const char *path, uint64_t *size) {
   int         file = open(path, O_RDONLY | O_CLOEXEC);
   struct stat status;
   if (file < 0 || fstat(file, &status)) return NULL;
   char *content = malloc((size_t)status.st_size + 1);
   *size = 0;
   while (content && *size < (uint64_t)status.st_size) {
      ssize_t count = read(file, content + *size, (size_t)status.st_size - *size);
      if (count <= 0) break;
      *size += (uint64_t)count;
   }
   close(file);
   return content;
}

static bool take(const char *path) {
   uint64_t    size;
   char       *content = read_file(path, &size);
   knap_json_t json = content ? knap_json_parse((knap_bytes_t){(const uint8_t *)content, size}) : knap_json_none;
   if (!json.at) return false;
   int64_t seed = 0;
   knap_json_integer(knap_json_get(json, "seed"), &seed);
   subject.seed = (unsigned)seed;
   subject.library = knap_json_copy(knap_json_get(json, "library"));
   subject.name = knap_json_copy(knap_json_get(json, "name"));
   subject.version = knap_json_copy(knap_json_get(json, "version"));
   subject.configuration = knap_json_copy(knap_json_get(json, "configuration"));
   subject.directory = knap_json_copy(knap_json_get(json, "directory"));
   knap_json_boolean(knap_json_get(json, "has_state"), &subject.has_state);
   knap_json_boolean(knap_json_get(json, "requires_services"), &subject.requires_services);
   knap_json_t methods = knap_json_get(json, "methods"), each = knap_json_none;
   while (knap_json_next(methods, NULL, &each)) {
      subject.methods = realloc(subject.methods, (subject.method_count + 1) * sizeof *subject.methods);
      method_t method = {.name = knap_json_copy(knap_json_get(each, "name"))};
      int64_t  deadline = 0;
      knap_json_boolean(knap_json_get(each, "blocks"), &method.blocks);
      knap_json_integer(knap_json_get(each, "deadline_ms"), &deadline);
      method.deadline_ns = (uint64_t)deadline * MILLISECOND;
      method.valid = knap_json_get(each, "valid");
      method.invalid = knap_json_get(each, "invalid");
      subject.methods[subject.method_count++] = method;
   }
   return subject.library && subject.name && subject.version && subject.configuration && subject.directory;
}

int main(int count, char **arguments) {
   // All memory in one pool, so that the test for leaks sees it.
   mallopt(M_ARENA_MAX, 1);
   if (count == 2 && !strcmp(arguments[1], "--list")) {
      output = STDOUT_FILENO;
      for (uint32_t i = 0; i < test_count; i++) printf("%s\t%s\n", tests[i].name, tests[i].sentence);
      return 0;
   }
   if (count != 3 || !take(arguments[2])) {
      fprintf(stderr, "usage: knap-checker TEST FILE\n");
      return 64;
   }
   for (uint32_t i = 0; i < test_count; i++) {
      if (strcmp(tests[i].name, arguments[1])) continue;
      tests[i].run();
      end_test();
   }
   fprintf(stderr, "knap-checker: there is no test %s\n", arguments[1]);
   return 64;
}
