// The private library of folder.c; -DEDITION tells one from another.
__attribute__((visibility("default"))) const char *words_edition(void) { return EDITION; }
