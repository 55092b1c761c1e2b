// Loading, instances, and what they leave.
#include "instance.h"
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>

static int entries(const char *directory) {
   DIR *stream = opendir(directory);
   int  count = -2;
   while (stream && readdir(stream)) count++;
   if (stream) closedir(stream);
   return count;
}

static int threads(void) { return entries("/proc/self/task"); }
static int descriptors(void) { return entries("/proc/self/fd"); }

void test_load(void) {
   int      before = threads();
   uint64_t began = now_ns();
   if (!load()) return;
   uint64_t took = now_ns() - began;
   if (took > 250 * MILLISECOND) warn("loading it took %.0f ms", (double)took / (double)MILLISECOND);
   if (threads() > before) warn("loading it started %d threads; start them in activate", threads() - before);
}

void test_entry(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   knap_plugin_draft_f entry = (knap_plugin_draft_f)dlsym(dlopen(subject.library, RTLD_NOW), KNAP_PLUGIN_SYMBOL);
   if (entry() != plugin || entry() != plugin) fault("the entry answered another table the second time");
   if (plugin->size < sizeof *plugin) {
      fault("its table states the size %u; set it to sizeof(knap_plugin_t)", plugin->size);
      return;
   }
   if (strcmp(plugin->name, subject.name)) fault("its table says the name %s, the manifest %s", plugin->name, subject.name);
   if (strcmp(plugin->version, subject.version)) fault("its table says version %s, the manifest %s", plugin->version, subject.version);
   if (!plugin->create || !plugin->prepare || !plugin->activate || !plugin->suspend || !plugin->destroy || !plugin->extension)
      fault("a function of its table is null");
   for (uint32_t i = 0; i < plugin->method_count; i++) {
      const knap_method_t *row = plugin->methods[i];
      if (!row || row->size < sizeof *row || !row->name || !row->call) {
         fault("row %u of its methods is null, or has a wrong size, name or function", i);
         continue;
      }
      bool isDeclared = false;
      for (uint32_t m = 0; m < subject.method_count; m++) isDeclared |= !strcmp(subject.methods[m].name, row->name);
      if (!isDeclared) warn("%s is in its table and not in its manifest, so that nobody can call it", row->name);
   }
   for (uint32_t m = 0; m < subject.method_count; m++) {
      uint32_t index;
      if (!row_of(plugin, subject.methods[m].name, &index)) fault("%s is in its manifest and not in its table", subject.methods[m].name);
   }
}

void test_lifecycle(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   const char *orders[] = {"", "p", "pas", "pasas", "pasasas"};
   for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
      run_t         run;
      knap_status_t status = create(&run, plugin, SHAPE_USUAL);
      if (status != KNAP_OK) {
         fault("create answered %d", status);
         host_destroy(run.host);
         return;
      }
      for (const char *step = orders[i]; *step; step++) {
         const char *name = *step == 'p' ? "prepare" : *step == 'a' ? "activate" : "suspend";
         hook(&run, name, *step == 'p' ? plugin->prepare : *step == 'a' ? plugin->activate : plugin->suspend);
         if (*step == 'a') call_all(&run);
      }
      destroy(&run);
   }
}

void test_instances(void) {
   const knap_plugin_t *plugin = load();
   run_t                first, second;
   if (!plugin || !start(&first, plugin, SHAPE_USUAL)) return;
   if (start(&second, plugin, SHAPE_USUAL)) {
      if (first.instance == second.instance) fault("two calls of create answered the same instance");
      call_all(&first);
      call_all(&second);
      stop(&first);
      call_all(&second);
      stop(&second);
   } else {
      stop(&first);
   }
}

// Runtimes keep what they may need again, up to a bound: a leak is what grows with every hundred instances.
void test_leaks(void) {
   const knap_plugin_t *plugin = load();
   if (!plugin) return;
   enum { WARM = 30, HUNDRED = 100, MOST = 10 };
   for (int part = 0; part <= MOST; part++) {
      size_t memory = mallinfo2().uordblks;
      int    files = descriptors(), running = threads();
      for (int round = 0; round < (part ? HUNDRED : WARM); round++) {
         run_t run;
         if (!start(&run, plugin, SHAPE_USUAL)) return;
         call_all(&run);
         stop(&run);
      }
      if (!part) continue;
      size_t after = mallinfo2().uordblks;
      // Less than the smallest allocation each is somebody's table that grew.
      bool isLarger = after > memory + HUNDRED * 24, hasFiles = descriptors() > files + HUNDRED / 2, hasThreads = threads() > running + HUNDRED / 10;
      if (!isLarger && !hasFiles && !hasThreads) return;
      if (part < MOST) continue;
      if (isLarger) fault("each instance leaves %zu bytes of memory", (after - memory) / HUNDRED);
      if (hasFiles) fault("each instance leaves a descriptor: %d more are open after a hundred", descriptors() - files);
      if (hasThreads) fault("instances leave threads: %d more are running after a hundred", threads() - running);
   }
}

void test_signals(void) {
   struct sigaction before[65], after;
   sigset_t         mask, mask_after;
   for (int number = 1; number < 65; number++) sigaction(number, NULL, &before[number]);
   pthread_sigmask(SIG_SETMASK, NULL, &mask);
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   call_all(&run);
   for (int number = 1; number < 65; number++)
      if (!sigaction(number, NULL, &after) && after.sa_handler != before[number].sa_handler)
         fault("it changed what signal %d (%s) does; signals belong to the host", number, sigabbrev_np(number) ? sigabbrev_np(number) : "?");
   pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
   if (memcmp(&mask, &mask_after, sizeof mask)) fault("it changed which signals the host's thread blocks");
   stop(&run);
}

static void in_shape(shape_t shape) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, shape)) return;
   call_all(&run);
   stop(&run);
}

void test_larger_host(void) { in_shape(SHAPE_LARGER); }

// A plugin that needs what this host does not have refuses; it must not fall over.
static void runs_or_refuses(shape_t shape) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin) return;
   if (create(&run, plugin, shape) != KNAP_OK) {
      host_destroy(run.host);
      return;
   }
   answer_t prepared = hook_answer(&run, "prepare", plugin->prepare);
   if (prepared.status == KNAP_OK) {
      answer_t activated = hook_answer(&run, "activate", plugin->activate);
      if (activated.status == KNAP_OK) {
         call_all(&run);
         suspend(&run);
      }
      answer_free(&activated);
   }
   answer_free(&prepared);
   destroy(&run);
}

void test_smaller_host(void) { runs_or_refuses(SHAPE_SMALLER); }
void test_bare_host(void) { runs_or_refuses(SHAPE_BARE); }

void test_unknown_extension(void) {
   const knap_plugin_t *plugin = load();
   run_t                run;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (int i = 0; i < 2; i++)
      if (plugin->extension(run.instance, i ? "com.example.unknown/7" : "")) fault("it answered a table for an extension that nobody knows");
   stop(&run);
}

void test_storm(void) {
   const knap_plugin_t *plugin = load();
   run_t                run, next;
   if (!plugin || !start(&run, plugin, SHAPE_USUAL)) return;
   for (int generation = 0; generation < 50 && !has_faults(); generation++) {
      if (!start(&next, plugin, SHAPE_USUAL)) break;
      call_all(&run);
      stop(&run);
      call_all(&next);
      run = next;
   }
   if (!has_faults()) stop(&run);
}
