#include "link.h"
#include <errno.h>
#include <fcntl.h>
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

knap_link_t *knap_link_create(const knap_link_config_t *config) {
   _Static_assert(KNAP_LINK_MEMORY == 2 * sizeof(knap_ring_shared_t), "two rings");
   knap_link_t *link = aligned_alloc(64, (sizeof *link + 63) & ~(size_t)63);
   if (!link) return NULL;
   memset(link, 0, sizeof *link);
   link->config = *config;
   link->party = config->party;
   link->host = knap_party_host(config->party);
   link->engine = knap_party_engine(config->party);
   link->may_spin = sysconf(_SC_NPROCESSORS_ONLN) > 1;
   atomic_flag_clear(&link->consuming);
   pthread_mutex_init(&link->lock, NULL);
   pthread_mutex_init(&link->out.lock, NULL);
   knap_ring_shared_t *rings = config->memory;
   link->out.shared = &rings[config->is_host ? 0 : 1];
   link->out.doorbell = config->other_doorbell;
   link->in.shared = &rings[config->is_host ? 1 : 0];
   link->in.other_doorbell = config->other_doorbell;
   link->in.largest = KNAP_LINK_LARGEST + (1 << 18);
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

void link_send(knap_link_t *link, knap_message_t header, const knap_piece_t *pieces, uint32_t count) {
   if (!atomic_load_explicit(&link->broken, memory_order_relaxed))
      knap_ring_send(&link->out, header, pieces, count, true, NULL);
}

// ## Taking messages

bool link_take(knap_link_t *link) {
   if (atomic_flag_test_and_set_explicit(&link->consuming, memory_order_seq_cst)) return false;
   // Whoever takes messages need not be woken.
   atomic_store_explicit(&link->in.shared->parked, 0, memory_order_relaxed);
   return true;
}

static bool take_missed(knap_link_t *link) {
   if (!link_take(link)) return false;
   atomic_exchange_explicit(&link->missed, false, memory_order_seq_cst); // sees what the thread saw that set it
   link_drain(link);
   return true;
}

// A doorbell that rings between the last look and the flag's clearing wakes a thread that finds the flag set. That thread
// says so in `missed`, and whoever clears the flag looks at it afterwards: one of the two takes what is there.
void link_leave(knap_link_t *link) {
   do {
      for (;;) {
         atomic_store_explicit(&link->in.shared->parked, 1, memory_order_seq_cst);
         if (!knap_ring_ready(&link->in) || atomic_load_explicit(&link->broken, memory_order_relaxed)) break;
         atomic_store_explicit(&link->in.shared->parked, 0, memory_order_relaxed);
         link_drain(link);
      }
      atomic_flag_clear_explicit(&link->consuming, memory_order_seq_cst);
   } while (atomic_load_explicit(&link->missed, memory_order_seq_cst) && take_missed(link));
}

static bool handle(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   if (!(message->flags & FLAG_TO_CALLER))
      return message->kind == MESSAGE_CALL ? inbound_call(link, message, body) : inbound_item(link, message, body);
   return message->kind == MESSAGE_RESULT ? outbound_result(link, message, body) : outbound_item(link, message, body);
}

bool link_drain(knap_link_t *link) {
   bool any = false;
   if (atomic_load_explicit(&link->out.unsent_bytes, memory_order_relaxed)) knap_ring_flush(&link->out);
   while (!atomic_load_explicit(&link->broken, memory_order_relaxed)) {
      knap_message_t message;
      const uint8_t *body;
      knap_receiving_t received = knap_ring_receive(&link->in, &message, &body);
      if (received == RING_EMPTY) break;
      if (received == RING_CORRUPT || !handle(link, &message, body)) {
         atomic_store(&link->broken, true);
         break;
      }
      knap_ring_done(&link->in);
      any = true;
      atomic_fetch_add_explicit(&link->received, 1, memory_order_relaxed);
   }
   return any;
}

bool knap_link_poll(knap_link_t *link, uint64_t spin_ns) {
   if (!link_take(link)) {
      atomic_store_explicit(&link->missed, true, memory_order_seq_cst);
      if (!take_missed(link)) return !atomic_load(&link->broken);
   }
   uint64_t until = 0;
   for (int i = 0;; i++) {
      if (link_drain(link)) until = 0;
      else if (!link->may_spin || !spin_ns) break;
      else if (!until) until = knap_now_ns() + spin_ns, i = 0;
      else if (i % 16 == 15 && knap_now_ns() >= until) break;
      else __builtin_ia32_pause();
      if (atomic_load_explicit(&link->broken, memory_order_relaxed)) break;
   }
   link_leave(link);
   return !atomic_load(&link->broken);
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
