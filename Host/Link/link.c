#include "link.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// A link's life, and taking messages: one thread at a time, whichever has time for it.

int knap_link_memory(void) {
   int descriptor = memfd_create("knap-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
   if (descriptor < 0) return -errno;
   // Sealed before the worker gets it: its ftruncate would otherwise kill the host with SIGBUS.
   if (ftruncate(descriptor, KNAP_LINK_MEMORY) < 0
       || fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
      int reason = errno;
      close(descriptor);
      return -reason;
   }
   return descriptor;
}

// That this process may use. On one, whoever spins keeps the one for whom he waits from running.
static int processors(void) {
   cpu_set_t set;
   return sched_getaffinity(0, sizeof set, &set) ? (int)sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
}

knap_link_t *knap_link_create(const knap_link_config_t *config) {
   _Static_assert(KNAP_LINK_MEMORY == 2 * sizeof(knap_ring_shared_t), "two rings");
   knap_link_t *link = aligned_alloc(64, (sizeof *link + 63) & ~(size_t)63);
   if (!link) return NULL;
   memset(link, 0, sizeof *link);
   link->config = *config;
   link->party = config->party;
   link->host = knap_party_host(config->party);
   link->engine = knap_party_engine(config->party);
   link->may_spin = processors() > 1;
   atomic_flag_clear(&link->consuming);
   pthread_mutex_init(&link->lock, NULL);
   pthread_mutex_init(&link->out.lock, NULL);
   knap_ring_shared_t *rings = config->memory;
   link->out.shared = &rings[config->is_host ? 0 : 1];
   link->out.doorbell = config->other_doorbell;
   link->in.shared = &rings[config->is_host ? 1 : 0];
   link->in.back = &link->out;
   link->in.largest = KNAP_BODY_LARGEST + LINK_TEXTS;
   // A worker trusts its host; the host reads nothing that could still change.
   link->in.copy = config->is_host ? malloc(RING_FRAGMENT) : NULL;
   link->outbound = calloc(KNAP_LINK_WINDOW, sizeof *link->outbound);
   link->inbound = calloc(KNAP_LINK_WINDOW, sizeof *link->inbound);
   if (!link->outbound || !link->inbound || (config->is_host && !link->in.copy)) {
      knap_link_destroy(link);
      return NULL;
   }
   if (config->group) {
      link->seat = group_seat(config->group, link);
      if (!link->seat) {
         knap_link_destroy(link);
         return NULL;
      }
      link->group = config->group;
   }
   return link;
}

void knap_link_destroy(knap_link_t *link) {
   if (link->seat) group_unseat(link->group, link->seat);
   for (knap_unsent_t *unsent = link->out.first, *next; unsent; unsent = next) next = unsent->next, free(unsent);
   knap_buffer_t *texts[] = {link->origin.caller, link->origin.principal, link->origin.trace};
   for (int i = 0; i < 3; i++)
      if (texts[i]) link->host->buffers->release(link->host, texts[i]);
   free(link->in.copy);
   free(link->in.assembled);
   free(link->outbound);
   free(link->inbound);
   free(link);
}

void knap_link_idempotent(knap_link_t *link, uint64_t methods) { link->idempotent = methods; }

void link_send(knap_link_t *link, knap_message_t header, const knap_piece_t *pieces, uint32_t count, uint32_t watched) {
   if (!atomic_load_explicit(&link->broken, memory_order_relaxed))
      knap_ring_send(&link->out, header, pieces, count, true, NULL, watched);
}

// ## Taking messages

// How many at a time, and for how long the keeper of one link lets others wait.
enum { MOST_AT_ONCE = 256, MOST_IN_TURN = 4096, TURN_NS = 500000 };

// A keeper looks for so long before it sleeps, at most; and so many of its sleeps go by before it looks again where that was
// in vain.
enum { SPIN_NS = 20000, MOST_SKIPPED = 7 };

static _Thread_local char self; // its address is the thread's name

bool link_take(knap_link_t *link) {
   if (atomic_flag_test_and_set_explicit(&link->consuming, memory_order_seq_cst)) return false;
   atomic_store_explicit(&link->consumer, &self, memory_order_relaxed);
   return true;
}

bool link_is_taken_here(knap_link_t *link) {
   return atomic_load_explicit(&link->consumer, memory_order_relaxed) == &self;
}

static void give(knap_link_t *link) {
   atomic_store_explicit(&link->consumer, NULL, memory_order_relaxed);
   atomic_flag_clear_explicit(&link->consuming, memory_order_seq_cst);
}

static void wake_keeper(knap_link_t *link) {
   if (link->config.doorbell >= 0) knap_ring_doorbell(link->config.doorbell);
   else knap_ring_wake(link->in.shared, -1);
}

// A thread that is woken, or stops watching, while another takes messages cannot know whether that one saw the last of them.
// It says so in `missed` and tries once more to become the one, who looks at `missed` after clearing the flag: one of the
// two takes what is there.
void link_leave(knap_link_t *link) {
   for (bool is_flooded = false;;) {
      give(link);
      if (is_flooded) return wake_keeper(link);
      if (!atomic_load_explicit(&link->missed, memory_order_seq_cst) || !link_take(link)) return;
      atomic_exchange_explicit(&link->missed, false, memory_order_seq_cst); // sees what the thread saw that set it
      is_flooded = link_drain(link, NULL) == MOST_AT_ONCE;
   }
}

void link_look(knap_link_t *link) {
   atomic_store_explicit(&link->missed, true, memory_order_seq_cst);
   if (link_take(link)) link_leave(link);
}

static bool handle(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   if (!(message->flags & FLAG_TO_CALLER))
      return message->kind == MESSAGE_CALL ? inbound_call(link, message, body) : inbound_item(link, message, body);
   return message->kind == MESSAGE_RESULT ? outbound_result(link, message, body) : outbound_item(link, message, body);
}

int link_drain(knap_link_t *link, const atomic_bool *ended) {
   int count = 0;
   if (knap_ring_flushable(&link->out)) knap_ring_flush(&link->out);
   while (count < MOST_AT_ONCE && !atomic_load_explicit(&link->broken, memory_order_relaxed)) {
      knap_message_t message;
      const uint8_t *body;
      knap_receiving_t received = knap_ring_receive(&link->in, &message, &body);
      if (received == RING_EMPTY) break;
      if (received == RING_CORRUPT || !handle(link, &message, body)) {
         atomic_store(&link->broken, true);
         break;
      }
      knap_ring_done(&link->in);
      count++;
      if (ended && atomic_load_explicit(ended, memory_order_acquire)) break;
   }
   if (count) atomic_fetch_add_explicit(&link->received, (uint64_t)count, memory_order_relaxed);
   return count;
}

// Takes messages until none has come for `spin_ns`. False: they still came when its turn was over.
static bool take_turn(knap_link_t *link, uint64_t spin_ns) {
   uint64_t until = 0, over = 0;
   for (int i = 0, all = 0; !atomic_load_explicit(&link->broken, memory_order_relaxed); i++) {
      int count = link_drain(link, NULL);
      if (count) {
         until = 0;
         if ((all += count) >= MOST_IN_TURN) return false;
         continue;
      }
      if (!link->may_spin || !spin_ns) break;
      if (!until || i % 16 == 15) {
         uint64_t now = knap_now_ns();
         if (!over) over = now + TURN_NS;
         if (!until) until = now + spin_ns;
         else if (now >= until) break;
         if (now >= over) return false;
      }
      __builtin_ia32_pause();
   }
   return true;
}

static bool is_to_do(knap_link_t *link) {
   return !atomic_load_explicit(&link->broken, memory_order_relaxed)
          && (knap_ring_ready(&link->in) || knap_ring_flushable(&link->out));
}

// Whether its keeper, which now sleeps, looks for more before. It does where that paid the last time: not where calls are rare
// or callers watch, and not where it keeps a caller from the processor on which he woke this thread.
static bool spins(knap_link_t *link) {
   if (link->rested) return false;
   if (!link->unspun) return true;
   link->unspun--;
   return false;
}

static void learn(knap_link_t *link, bool paid) {
   if (paid) link->futile = 0;
   else link->unspun = link->futile = link->futile < MOST_SKIPPED ? 2 * link->futile + 1 : MOST_SKIPPED;
}

bool knap_link_poll(knap_link_t *link, uint64_t spin_ns) {
   knap_ring_shared_t *in = link->in.shared;
   uint32_t sleeps = link->config.doorbell < 0 ? PARKED_HERE : PARKED_AT_BELL;
   bool holds = link_take(link), quiet = !holds;
   if (!spins(link)) spin_ns = 0;
   uint64_t before = link->received;
   for (int rounds = 0;; rounds++) {
      if (holds) {
         atomic_store_explicit(&in->parked, AWAKE, memory_order_relaxed);
         quiet = take_turn(link, spin_ns) && rounds < 16;
         if (!quiet) break;
      }
      if (sleeps == PARKED_HERE) atomic_store_explicit(&in->parked_at, knap_now_ns(), memory_order_relaxed);
      atomic_store_explicit(&in->parked, sleeps, memory_order_seq_cst);
      if (holds && !is_to_do(link)) break;
      if (holds) continue;
      atomic_store_explicit(&link->missed, true, memory_order_seq_cst);
      holds = link_take(link);
      if (!holds) break; // the thread that takes messages looks at `missed`
   }
   if (spin_ns) learn(link, link->received - before > 1); // what came besides the message that woke it
   if (holds) link_leave(link);
   if (!quiet) wake_keeper(link); // itself: others may have waited for a turn
   return !atomic_load(&link->broken);
}

bool knap_link_serve(knap_link_t *link) {
   if (!knap_link_poll(link, SPIN_NS)) return false;
   knap_ring_sleep(link->in.shared);
   link->rested = knap_ring_rested(link->in.shared);
   return true;
}

void knap_link_break(knap_link_t *link) {
   if (link->seat) knap_group_admit(link, false);
   atomic_store(&link->broken, true);
   while (atomic_flag_test_and_set_explicit(&link->consuming, memory_order_acquire)) usleep(50); // ends with its message
   outbound_abandon(link);
   inbound_abandon(link);
   atomic_flag_clear_explicit(&link->consuming, memory_order_release);
}

void knap_link_count(knap_link_t *link, knap_link_counts_t *counts) {
   pthread_mutex_lock(&link->lock);
   uint32_t in_flight = link->in_flight;
   pthread_mutex_unlock(&link->lock);
   if (link->seat) in_flight = seat_calls(link->seat); // more by those that are about to be forwarded
   *counts = (knap_link_counts_t){.sent = link->out.sent, .received = link->received, .wakes = link->out.wakes,
                                  .queued_bytes = link->out.unsent_bytes,
                                  .in_flight = in_flight + link->inbound_count, .outgoing = in_flight,
                                  .broken = atomic_load(&link->broken)};
}
