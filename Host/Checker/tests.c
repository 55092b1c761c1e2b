#include "instance.h"

const test_t tests[] = {
   {"load", "Loading the library is quick and starts nothing.", test_load},
   {"entry", "The entry always answers the same table, which is whole and agrees with the manifest.", test_entry},
   {"lifecycle", "Every legal order of create, prepare, activate, suspend and destroy works, and each hook ends once.", test_lifecycle},
   {"instances", "Two instances live side by side, as they do in a reload.", test_instances},
   {"leaks", "A hundred instances, one after the other, leave no memory, descriptor or thread.", test_leaks},
   {"signals", "What signals do, and which are blocked, stays as it was.", test_signals},
   {"larger_host", "It runs on a later host, whose tables are larger.", test_larger_host},
   {"smaller_host", "On an earlier host, whose tables are smaller, it runs or refuses, and calls nothing beyond them.", test_smaller_host},
   {"bare_host", "On a host without any extension it runs or refuses, and does not fall over.", test_bare_host},
   {"unknown_extension", "Asked for an extension that it does not have, it answers null.", test_unknown_extension},
   {"calls", "Every method answers inputs that its schema allows, once and in time, as its output schema says.", test_calls},
   {"wrong_input", "Inputs that its schema forbids end in an answer.", test_wrong_input},
   {"garbage", "Bytes that are no JSON, are nested deeply or are large end in an answer.", test_garbage},
   {"threads", "Eight callers at once are all answered.", test_threads},
   {"cancel", "A call whose caller has gone is completed soon.", test_cancel},
   {"blocking", "A method that is not declared as blocking returns at once.", test_blocking},
   {"streams", "Items go both ways, one credit at a time, and nobody sends without credit.", test_streams},
   {"state", "What it saves it loads; truncated, changed, random and foreign states are refused or taken, without a fall.", test_state},
   {"storm", "Fifty generations follow each other while calls are made.", test_storm},
};
const uint32_t test_count = sizeof tests / sizeof *tests;
