// The ABI is headers only; this file makes it a target and compiles every header as C.
#include "knap/knap.h"
