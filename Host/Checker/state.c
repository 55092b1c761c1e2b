// State that is handed over.
#include "instance.h"
#include <knap/ext/state.h>

typedef struct {
   uint8_t *data;
   uint64_t size;
} saved_t;

static void take(void *context, knap_bytes_t piece) {
   saved_t *saved = context;
   saved->data = realloc(saved->data, saved->size + piece.size + 1);
   if (piece.size) memcpy(saved->data + saved->size, piece.data, piece.size);
   saved->size += piece.size;
}

static const knap_plugin_state_t *state_of(run_t *run) {
   const knap_plugin_state_t *state = run->plugin->extension(run->instance, KNAP_EXT_STATE);
   if (!state) fault("its manifest names %s, and it answers no table for it", KNAP_EXT_STATE);
   else if (state->size < sizeof *state || !state->save || !state->load) fault("its table for %s is not whole", KNAP_EXT_STATE), state = NULL;
   return state;
}

static bool save(run_t *run, uint32_t *schema, saved_t *saved) {
   const knap_plugin_state_t *state = state_of(run);
   if (!state) return false;
   knap_writer_t out = {saved, take};
   knap_status_t status = state->save(run->instance, &out);
   if (status != KNAP_OK) fault("save answered %d", status);
   *schema = state->schema;
   return status == KNAP_OK;
}

// A new instance is given a state; true: it took it, and went on to run.
static bool load_state(const knap_plugin_t *plugin, uint32_t schema, knap_bytes_t bytes) {
   run_t run;
   if (create(&run, plugin, SHAPE_USUAL) != KNAP_OK || hook(&run, "prepare", plugin->prepare) != KNAP_OK) return false;
   const knap_plugin_state_t *state = state_of(&run);
   // Bytes that end where their memory does, and are gone afterwards.
   uint8_t *copy = malloc(bytes.size ? bytes.size : 1);
   if (bytes.size) memcpy(copy, bytes.data, bytes.size);
   bool isTaken = state && state->load(run.instance, schema, (knap_bytes_t){copy, bytes.size}) == KNAP_OK;
   memset(copy, 0xA5, bytes.size);
   free(copy);
   if (isTaken && hook(&run, "activate", plugin->activate) == KNAP_OK) {
      call_all(&run);
      suspend(&run);
   }
   destroy(&run);
   return isTaken;
}

void test_state(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!subject.has_state) return skip("its manifest does not name %s", KNAP_EXT_STATE);
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   call_all(&run);
   suspend(&run);
   saved_t  saved = {0};
   uint32_t schema = 0;
   bool     isSaved = save(&run, &schema, &saved);
   destroy(&run);
   if (isSaved) {
      if (!load_state(plugin, schema, (knap_bytes_t){saved.data, saved.size})) fault("load refused what save had written");
      for (int i = 0; i < 32; i++) load_state(plugin, schema, (knap_bytes_t){saved.data, saved.size * (uint64_t)i / 32});
      unsigned seed = subject.seed;
      uint8_t  random[256];
      for (int round = 0; round < 50; round++) {
         uint64_t size = (uint64_t)rand_r(&seed) % sizeof random;
         for (uint64_t i = 0; i < size; i++) random[i] = (uint8_t)rand_r(&seed);
         load_state(plugin, schema, (knap_bytes_t){random, size});
      }
      // What was saved, with some bytes changed.
      for (int round = 0; saved.size && round < 50; round++) {
         saved_t changed = {malloc(saved.size), saved.size};
         memcpy(changed.data, saved.data, saved.size);
         for (int i = 0; i < 3; i++) changed.data[(uint64_t)rand_r(&seed) % saved.size] = (uint8_t)rand_r(&seed);
         load_state(plugin, schema, (knap_bytes_t){changed.data, changed.size});
         free(changed.data);
      }
      if (load_state(plugin, schema + 1000, (knap_bytes_t){saved.data, saved.size}))
         warn("load took a state of revision %u, which is later than its own %u; refuse what you cannot know", schema + 1000, schema);
      if (schema > 0) load_state(plugin, schema - 1, (knap_bytes_t){saved.data, saved.size});
   }
   free(saved.data);
}
