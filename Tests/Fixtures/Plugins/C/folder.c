// A plugin that comes as a folder: with a private library, libwords.so (words.c), and a data file, words/list.txt.
#include "plain.h"
#include <dlfcn.h>

const char *words_edition(void);

METHOD(version) { answer(instance, request->call, "\"" VERSION "\""); }

METHOD(edition) { answer(instance, request->call, "\"%s\"", words_edition()); }

// The file is found beside the plugin's own library, wherever that was loaded from.
METHOD(list) {
   Dl_info own;
   char path[4096], line[256] = "";
   if (!dladdr((void *)list, &own) || !own.dli_fname) return answer(instance, request->call, "\"not found\"");
   snprintf(path, sizeof path, "%.*s/words/list.txt", (int)(strrchr(own.dli_fname, '/') - own.dli_fname), own.dli_fname);
   FILE *file = fopen(path, "r");
   if (!file || !fgets(line, sizeof line, file)) snprintf(line, sizeof line, "%s cannot be read", path);
   if (file) fclose(file);
   line[strcspn(line, "\n")] = 0;
   answer(instance, request->call, "\"%s\"", line);
}

METHOD(place) {
   Dl_info own;
   answer(instance, request->call, "\"%s\"", dladdr((void *)words_edition, &own) && own.dli_fname ? own.dli_fname : "nowhere");
}

#define METHODS(X) X(version) X(edition) X(list) X(place)
PLUGIN
