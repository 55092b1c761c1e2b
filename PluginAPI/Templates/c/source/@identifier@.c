#include <knap-sdk/answer.h>
#include <knap-sdk/json.h>
#include <ctype.h>

// One running plugin. Two may live at the same time, so there are no globals.
typedef struct {
   const knap_host_t *host;
} plugin_t;

static int64_t words_of(const char *text) {
   int64_t words = 0;
   for (bool inside = false; *text; text++) {
      bool isBlank = isspace((unsigned char)*text);
      words += !isBlank && !inside;
      inside = !isBlank;
   }
   return words;
}

// Serves @service@.count_words. May run on several threads at once; the request lives until this returns.
static void count_words(void *instance, const knap_request_t *request) {
   plugin_t *self = instance;
   char     *text = knap_json_copy(knap_json_get(knap_json_parse(request->body), "text"));
   if (!text) {
      knap_fail(self->host, request->call, KNAP_INVALID_ARGUMENT, "the argument 'text' must be a text; give the text to count");
      return;
   }
   knap_json_writer_t json = {0};
   knap_json_open(&json, '{');
   knap_json_put_name(&json, "words");
   knap_json_put_integer(&json, words_of(text));
   knap_json_close(&json, '}');
   knap_answer(self->host, request->call, knap_json_finish(&json));
   free(json.data);
   free(text);
}

static knap_status_t create(const knap_host_t *host, void **instance) {
   plugin_t *self = calloc(1, sizeof *self);
   if (!self) return KNAP_RESOURCE_EXHAUSTED;
   self->host = host;
   *instance = self;
   return KNAP_OK;
}

// Slow work that needs nothing exclusive.
static void prepare(void *instance, knap_call_t call) { knap_done(((plugin_t *)instance)->host, call); }
// Takes files, ports and the like.
static void activate(void *instance, knap_call_t call) { knap_done(((plugin_t *)instance)->host, call); }
// Gives them back.
static void suspend(void *instance, knap_call_t call) { knap_done(((plugin_t *)instance)->host, call); }

static const void *extension(void *instance, const char *id) {
   (void)instance, (void)id;
   return NULL;
}

// As in manifest.json.
static const knap_method_t        count_words_method = {sizeof(knap_method_t), 0, "@service@.count_words", count_words};
static const knap_method_t *const methods[] = {&count_words_method};
static const knap_plugin_t        plugin = {
   .size = sizeof plugin,
   .method_count = sizeof methods / sizeof *methods,
   .name = "@name@",
   .version = "0.1.0",
   .methods = methods,
   .create = create,
   .prepare = prepare,
   .activate = activate,
   .suspend = suspend,
   .destroy = free,
   .extension = extension,
};

KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) { return &plugin; }
