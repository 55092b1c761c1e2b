#include "link.h"
#include <stdlib.h>
#include <string.h>

// Calls of this side that the other side serves. Each has a place in the window from the moment it is forwarded until
// the engine has no more callbacks for it.

// For how long a caller watches: looking, where the other side is awake, about 3 µs in which nothing comes and 20 µs in all;
// asleep, where it has to wake up. Both are short enough for a thread that may not block.
enum { WATCH_PAUSES = 120, MOST_PAUSES = 800, WATCH_NS = 200000, DEEPEST_WATCH = 8 };

static outbound_t *take_place(knap_link_t *link) {
   pthread_mutex_lock(&link->lock);
   outbound_t *place = link->free;
   if (place) link->free = place->next;
   else if (link->fresh < KNAP_LINK_WINDOW) {
      place = &link->outbound[link->fresh];
      place->link = link;
      place->tag = link->fresh++;
   }
   if (place) {
      link->in_flight++;
      place->used = true;
   }
   pthread_mutex_unlock(&link->lock);
   return place;
}

static void release(outbound_t *place) {
   if (atomic_fetch_sub_explicit(&place->holders, 1, memory_order_acq_rel) > 1) return;
   knap_link_t *link = place->link;
   if (place->kept) link->host->buffers->release(link->host, place->kept);
   place->kept = NULL;
   knap_seat_t *seat = link->seat;
   pthread_mutex_lock(&link->lock);
   place->used = false;
   place->serial++;
   place->next = link->free;
   link->free = place;
   link->in_flight--;
   pthread_mutex_unlock(&link->lock);
   seat_uncount(seat); // the link may be gone by now
}

// Keeps a place that may be released at any moment; false: it was.
static bool hold(outbound_t *place) {
   int holders = atomic_load_explicit(&place->holders, memory_order_relaxed);
   while (holders > 0)
      if (atomic_compare_exchange_weak_explicit(&place->holders, &holders, holders + 1, memory_order_acq_rel,
                                                memory_order_relaxed))
         return true;
   return false;
}

outbound_t *outbound_of(knap_link_t *link, uint32_t tag, uint32_t serial) {
   if (tag >= KNAP_LINK_WINDOW) return NULL;
   outbound_t *place = &link->outbound[tag];
   return place->used && place->serial == serial ? place : NULL;
}

// ## What the engine tells the callee, passed on

static knap_message_t about(const outbound_t *place, uint8_t kind) {
   return (knap_message_t){.kind = kind, .tag = place->tag, .serial = place->serial};
}

static void on_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)call;
   outbound_t *place = context;
   knap_message_t header = about(place, MESSAGE_ITEM);
   header.a = item->id;
   header.b = item->kind;
   knap_piece_t body = piece(item->body.data, item->body.size);
   link_send(place->link, header, &body, 1, UNWATCHED);
}

static void send_half_close(outbound_t *place) {
   if (place->streams) link_send(place->link, about(place, MESSAGE_HALF_CLOSE), NULL, 0, UNWATCHED);
}

static void on_half_close(void *context, knap_call_t call) {
   (void)call;
   outbound_t *place = context;
   atomic_store(&place->closed, true);
   // Before the request is sent nobody could understand it; whoever sends that looks at `closed` afterwards.
   if (atomic_load(&place->sending) == 1) send_half_close(place);
}

static void on_credit(void *context, knap_call_t call) { (void)context; (void)call; }

// Tells the other side of what the caller granted since it was told last.
static void send_grants(outbound_t *place) {
   uint64_t granted = atomic_load(&place->granted), told = atomic_load(&place->told);
   while (told < granted)
      if (atomic_compare_exchange_weak(&place->told, &told, granted)) {
         knap_message_t header = about(place, MESSAGE_GRANT);
         header.a = granted - told < UINT32_MAX ? granted - told : UINT32_MAX;
         return link_send(place->link, header, NULL, 0, UNWATCHED);
      }
}

static void on_granted(void *context, knap_call_t call, uint64_t granted) {
   (void)call;
   outbound_t *place = context;
   uint64_t before = atomic_load(&place->granted);
   while (before < granted && !atomic_compare_exchange_weak(&place->granted, &before, granted)) {}
   // Before the request is sent nobody could understand it; whoever sends that looks at `granted` afterwards.
   if (atomic_load(&place->sending) == 1) send_grants(place);
}

static void on_cancel(void *context, knap_call_t call, knap_status_t reason) {
   (void)call;
   outbound_t *place = context;
   int before = 0;
   if (atomic_compare_exchange_strong(&place->sending, &before, 2)) return; // the request has not gone out
   knap_message_t header = about(place, MESSAGE_CANCEL);
   header.a = (uint64_t)reason;
   link_send(place->link, header, NULL, 0, UNWATCHED);
   if (reason == KNAP_DEADLINE_EXCEEDED && place->link->config.overdue)
      place->link->config.overdue(place->link->config.context);
}

static void on_closed(void *context) {
   outbound_t *place = context;
   atomic_store_explicit(&place->ended, true, memory_order_release);
   release(place);
}

static bool on_hold(void *context) { return hold(context); }
static void on_wait(void *context);

static const knap_callee_relay_t callee = {
   {sizeof(knap_callee_relay_t), 0, on_item, on_half_close, on_credit, on_cancel, on_closed}, on_granted, on_hold, on_wait};

// ## Forwarding

static void fail(knap_link_t *link, knap_call_t call, knap_status_t status, const char *message, const char *details) {
   knap_result_t result = {.size = sizeof result, .status = status, .message = {message, strlen(message)},
                           .body = {(const uint8_t *)details, details ? strlen(details) : 0}};
   link->host->calls->complete(link->host, call, &result);
}

// Keeps the body, for another process if this one dies.
static void keep_body(outbound_t *place, knap_bytes_t body, knap_buffer_t *buffer) {
   const knap_host_t *host = place->link->host;
   if (body.size <= KEPT_INLINE) {
      if (body.size) memcpy(place->small, body.data, body.size);
      place->body = (knap_bytes_t){place->small, body.size};
   } else {
      place->kept = host->buffers->keep(host, body, buffer, &place->body);
   }
}

static knap_sending_t send_call(outbound_t *place, knap_bytes_t body, uint32_t *watched) {
   knap_link_t *link = place->link;
   knap_call_view_t view;
   if (!knap_call_view(link->host, place->call, &view)) return SENT; // it ended already
   place->streams = view.input_open;
   atomic_store_explicit(&place->told, view.granted, memory_order_relaxed);
   place->waits = view.waits && !place->streams;
   if (place->streams) *watched = UNWATCHED;
   else if (place->waits) *watched = knap_ring_count(&link->in);
   call_header_t call = {.credit = view.granted < INT32_MAX ? (uint32_t)view.granted : INT32_MAX, .watched = *watched, .principal = (uint16_t)view.principal.size,
                         .trace = (uint16_t)view.trace.size, .caller = (uint16_t)view.caller.size};
   knap_message_t header = about(place, MESSAGE_CALL);
   header.a = view.deadline_ns;
   header.b = place->method;
   if (place->streams) header.flags |= FLAG_STREAMS;
   inbound_t *served = view.parent ? inbound_serving(link, view.parent) : NULL;
   if (served) {
      header.flags |= FLAG_PARENT;
      call.parent_tag = served->tag;
      call.parent_serial = served->serial;
   }
   // Text longer than a header can say is nobody's name.
   if (view.principal.size > UINT16_MAX) call.principal = 0;
   if (view.trace.size > UINT16_MAX) call.trace = 0;
   if (view.caller.size > UINT16_MAX) call.caller = 0;
   knap_piece_t pieces[] = {piece(&call, sizeof call), piece(view.principal.data, call.principal),
                            piece(view.trace.data, call.trace), piece(view.caller.data, call.caller),
                            piece(body.data, body.size)};
   return knap_ring_send(&link->out, header, pieces, 5, false, &place->position, UNWATCHED);
}

// Whether the thread is to watch the ring for the answer. Where answers did not come soon the next calls do not wait; one
// in 64 tries again.
static bool may_watch(knap_link_t *link) {
   if (knap_engine_depth(link->engine) > DEEPEST_WATCH || link_is_taken_here(link)) return false;
   if (!atomic_load_explicit(&link->skip, memory_order_relaxed)) return true;
   atomic_fetch_sub_explicit(&link->skip, 1, memory_order_relaxed);
   return false;
}

static bool has_ended(const outbound_t *place) { return atomic_load_explicit(&place->ended, memory_order_acquire); }

// Looks at the ring; an answer that comes within microseconds then costs no system call.
static void look_out(outbound_t *place, int pauses) {
   knap_link_t *link = place->link;
   bool held = false;
   uint64_t seen = 0;
   for (int i = 0, idle = 0; i < MOST_PAUSES && idle < pauses && !has_ended(place); i++, idle++) {
      if (!held) held = link_take(link);
      if (held && link_drain(link, &place->ended)) {
         idle = 0; // those before it are being answered
         continue;
      }
      uint64_t head = atomic_load_explicit(&link->in.shared->head, memory_order_relaxed);
      if (head != seen) idle = 0, seen = head;
      __builtin_ia32_pause();
   }
   if (held) link_leave(link);
}

// Sleeps until the answer comes. Looking would be in the way: the process that wakes up may have to do so on this processor.
static void sleep_out(outbound_t *place) {
   knap_link_t *link = place->link;
   knap_ring_shared_t *in = link->in.shared;
   uint64_t until = knap_now_ns() + WATCH_NS;
   while (!has_ended(place)) {
      uint32_t value = atomic_fetch_or_explicit(&in->watch, WATCH_SLEEPS, memory_order_seq_cst) | WATCH_SLEEPS;
      if (!link_take(link)) return look_out(place, WATCH_PAUSES); // who takes messages now will not wake anybody here
      link_drain(link, &place->ended);
      link_leave(link);
      uint64_t now = knap_now_ns();
      if (has_ended(place) || now >= until) return;
      knap_ring_watch(in, value, until - now);
   }
}

// Waits a moment for the answer, taking messages. False: it has not come, and will wake the keeper.
static bool wait_for(outbound_t *place, bool sleeps) {
   knap_link_t *link = place->link;
   if (!sleeps) look_out(place, WATCH_PAUSES);
   else if (link->may_spin && !knap_ring_rested(link->out.shared)) look_out(place, MOST_PAUSES); // both are wide awake
   if (sleeps && !has_ended(place)) sleep_out(place);
   if (has_ended(place)) return true;
   // One that came before the keeper was to be woken must still be seen.
   atomic_fetch_add_explicit(&link->in.shared->watch, WATCH_COUNT, memory_order_seq_cst);
   link_look(link);
   return false;
}

// The caller's own wait, which may come on any thread.
static void on_wait(void *context) {
   outbound_t *place = context;
   knap_link_t *link = place->link;
   if (!link_is_taken_here(link)) wait_for(place, !link->may_spin || knap_ring_parked(&link->out));
   release(place);
}

// Waits with the caller right after the request, and learns whether that pays.
static void watch(outbound_t *place, bool sleeps) {
   knap_link_t *link = place->link;
   if (wait_for(place, sleeps)) {
      atomic_store_explicit(&link->cold, 0, memory_order_relaxed);
      return;
   }
   uint32_t cold = atomic_load_explicit(&link->cold, memory_order_relaxed);
   atomic_store_explicit(&link->cold, cold < 32 ? 2 * cold + 1 : 63, memory_order_relaxed);
   atomic_store_explicit(&link->skip, cold, memory_order_relaxed);
}

// Up to which the other side had begun. What it answered it had begun: where its shared memory says less it was overwritten,
// and whatever was sent may have run. Else a call that does that would kill one process after the other.
static uint64_t begun_at(knap_link_t *link) {
   uint64_t begun = atomic_load_explicit(&link->out.shared->begun, memory_order_acquire);
   return begun < atomic_load_explicit(&link->answered, memory_order_relaxed) ? UINT64_MAX : begun;
}

// Ends a sent call whose other side is gone, or has another process run it. Once.
static void abandon(outbound_t *place, uint64_t begun) {
   int sent = 1;
   if (!atomic_compare_exchange_strong(&place->sending, &sent, 3)) return; // or its own thread sees that the link broke
   if (!hold(place)) return; // it has ended
   if (atomic_load_explicit(&place->ended, memory_order_acquire)) return release(place);
   knap_link_t *link = place->link;
   bool begun_with = place->position <= begun || place->begun;
   bool twice = !place->streams && place->method < 64 && (link->idempotent >> place->method & 1) && !place->begun;
   bool again = place->method < KNAP_LINK_SPECIAL && (!begun_with || twice)
                && (link->seat ? group_take_over(place, begun_with)
                               : knap_call_requeue(link->host, place->call, place->body, place->kept, begun_with));
   if (!again && begun_with)
      fail(link, place->call, KNAP_UNKNOWN, "the plugin's process ended during the call, which may have run",
           "{\"class\":\"plugin\",\"retry\":false,\"may_have_run\":true}");
   else if (!again)
      knap_call_unserved(link->host, place->call, KNAP_UNAVAILABLE, "its process ended before it ran the call; try again", place->body,
                         place->kept);
   release(place);
}

static void transmit(outbound_t *place, knap_bytes_t body, bool watches) {
   knap_link_t *link = place->link;
   if (atomic_load(&link->broken)) { // since the call was routed here
      atomic_store(&place->sending, 1);
      return abandon(place, 0);
   }
   bool sleeps = !link->may_spin || knap_ring_parked(&link->out);
   uint32_t watched = watches && may_watch(link) ? knap_ring_count(&link->in) : UNWATCHED;
   knap_sending_t sending = send_call(place, body, &watched);
   if (sending == SEND_FULL)
      return knap_call_unserved(link->host, place->call, KNAP_RESOURCE_EXHAUSTED, "its process is too slow to take more calls",
                                place->body, place->kept);
   int before = 0;
   if (!atomic_compare_exchange_strong(&place->sending, &before, 1)) { // cancelled in between
      knap_message_t header = about(place, MESSAGE_CANCEL);
      header.a = KNAP_CANCELLED;
      link_send(link, header, NULL, 0, UNWATCHED);
      atomic_store(&place->sending, 1);
   } else {
      send_grants(place);
      if (atomic_load(&place->closed)) send_half_close(place);
   }
   // The link may have broken after the look above, and whoever broke it did not see this call as sent.
   if (atomic_load(&link->broken)) abandon(place, begun_at(link));
   else if (watched != UNWATCHED && !place->waits) watch(place, sleeps || sending == SENT_AND_WOKE);
}

static void in_place(outbound_t *place, knap_call_t call, uint32_t method, knap_bytes_t body, knap_buffer_t *buffer,
                     bool watches) {
   knap_link_t *link = place->link;
   place->call = call;
   place->method = method;
   place->begun = place->waits = false;
   atomic_store_explicit(&place->closed, false, memory_order_relaxed);
   atomic_store_explicit(&place->granted, 0, memory_order_relaxed);
   atomic_store_explicit(&place->told, 0, memory_order_relaxed);
   place->position = UINT64_MAX;
   atomic_store_explicit(&place->ended, false, memory_order_relaxed);
   atomic_store_explicit(&place->sending, 0, memory_order_relaxed);
   atomic_store_explicit(&place->holders, 2, memory_order_relaxed);
   keep_body(place, body, buffer);
   if (link->host->calls->listen(link->host, call, &callee.callee, place) != KNAP_OK) release(place); // it has ended
   else transmit(place, body, watches);
   release(place);
}

void outbound_forward(knap_link_t *link, knap_call_t call, uint32_t method, knap_bytes_t body, knap_buffer_t *buffer,
                      bool watches) {
   outbound_t *place = take_place(link);
   if (place) return in_place(place, call, method, body, buffer, watches);
   knap_call_unserved(link->host, call, KNAP_RESOURCE_EXHAUSTED, "its process has too many calls at once", body, buffer);
   seat_uncount(link->seat);
}

void knap_link_forward(void *context, const knap_request_t *request) {
   knap_link_t *link = context;
   seat_count(link->seat);
   outbound_forward(link, request->call, request->method, request->body, request->buffer, true);
}

void knap_link_send_special(knap_link_t *link, knap_call_t call, uint32_t method, knap_bytes_t body) {
   seat_count(link->seat);
   outbound_forward(link, call, method, body, NULL, false); // nobody waits on this thread
}

// ## What the other side says of these calls

// By the thread that takes messages.
static outbound_t *outbound_said(knap_link_t *link, const knap_message_t *message) {
   outbound_t *place = outbound_of(link, message->tag, message->serial);
   if (!place) return NULL;
   uint64_t position = atomic_load_explicit(&place->position, memory_order_relaxed);
   if (position != UINT64_MAX && position > atomic_load_explicit(&link->answered, memory_order_relaxed))
      atomic_store_explicit(&link->answered, position, memory_order_relaxed);
   return place;
}

bool outbound_result(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   result_header_t header;
   if (message->size < sizeof header) return false;
   memcpy(&header, body, sizeof header);
   uint64_t texts = (uint64_t)header.content_type + header.message;
   if (texts > message->size - sizeof header) return false;
   outbound_t *place = outbound_said(link, message);
   if (!place) return true; // of a call that has ended
   const uint8_t *at = body + sizeof header;
   knap_result_t result = {
      .size = sizeof result, .status = (knap_status_t)message->a,
      .content_type = {(const char *)at, header.content_type},
      .message = {(const char *)at + header.content_type, header.message},
      .body = {at + texts, message->size - sizeof header - texts},
   };
   if (result.status < KNAP_OK || result.status > KNAP_UNAUTHENTICATED) result.status = KNAP_UNKNOWN;
   link->host->calls->complete(link->host, place->call, &result);
   return true;
}

bool outbound_item(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   outbound_t *place = outbound_said(link, message);
   if (!place) return true;
   place->begun = true;
   if (message->kind == MESSAGE_GRANT) {
      link->host->calls->grant(link->host, place->call, (uint32_t)message->a);
      return true;
   }
   if (message->kind != MESSAGE_ITEM || message->b < KNAP_ITEM_DATA || message->b > KNAP_ITEM_REPLY) return false;
   knap_item_t item = {.size = sizeof item, .kind = (uint32_t)message->b, .id = message->a, .body = {body, message->size}};
   // The other side's engine counts the same credit, so only one that lies sends without.
   return link->host->calls->send(link->host, place->call, &item) != KNAP_RESOURCE_EXHAUSTED;
}

// The other side is gone: each call goes to its successor or fails.
void outbound_abandon(knap_link_t *link) {
   uint64_t begun = begun_at(link);
   pthread_mutex_lock(&link->lock);
   uint32_t count = link->fresh; // who takes a place after this sees that the link broke
   pthread_mutex_unlock(&link->lock);
   for (uint32_t tag = 0; tag < count; tag++)
      if (link->outbound[tag].used) abandon(&link->outbound[tag], begun);
}
