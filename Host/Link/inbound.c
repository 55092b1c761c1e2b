#include "link.h"
#include <string.h>

// Calls of the other side that this side serves. The other side names each by a place in its window, and may use the
// place again as soon as the result is on its way.

static knap_message_t about(const inbound_t *place, uint8_t kind) {
   return (knap_message_t){.kind = kind, .flags = FLAG_TO_CALLER, .tag = place->tag, .serial = place->serial};
}

static void send_result(inbound_t *place, const knap_result_t *result) {
   knap_link_t *link = place->link;
   knap_message_t header = about(place, MESSAGE_RESULT);
   header.a = (uint64_t)result->status;
   result_header_t texts = {(uint32_t)result->content_type.size, (uint32_t)result->message.size};
   knap_piece_t pieces[] = {piece(&texts, sizeof texts), piece(result->content_type.data, texts.content_type),
                            piece(result->message.data, texts.message), piece(result->body.data, result->body.size)};
   uint32_t watched = place->watched;
   // From the sending on the other side may use the place again.
   atomic_store_explicit(&place->used, false, memory_order_release);
   link_send(link, header, pieces, 4, watched);
   atomic_fetch_sub_explicit(&link->inbound_count, 1, memory_order_release);
}

static void on_complete(void *context, knap_call_t call, const knap_result_t *result) {
   (void)call;
   // The engine saw to the body's size.
   if (result->content_type.size + result->message.size <= LINK_TEXTS - sizeof(result_header_t)) return send_result(context, result);
   knap_result_t shorter = *result;
   shorter.content_type = (knap_text_t){NULL, 0};
   if (shorter.message.size > LINK_TEXTS / 2) shorter.message.size = LINK_TEXTS / 2;
   send_result(context, &shorter);
}

static void on_item(void *context, knap_call_t call, const knap_item_t *item) {
   (void)call;
   inbound_t *place = context;
   knap_message_t header = about(place, MESSAGE_ITEM);
   header.a = item->id;
   header.b = item->kind;
   knap_piece_t body = piece(item->body.data, item->body.size);
   link_send(place->link, header, &body, 1, UNWATCHED);
}

static void on_credit(void *context, knap_call_t call) { (void)context; (void)call; }

static void on_granted(void *context, knap_call_t call, uint32_t items) {
   (void)call;
   inbound_t *place = context;
   knap_message_t header = about(place, MESSAGE_GRANT);
   header.a = items;
   link_send(place->link, header, NULL, 0, UNWATCHED);
}

static const knap_caller_relay_t caller = {
   {sizeof(knap_caller_relay_t), 0, on_complete, on_item, on_credit}, on_granted};

inbound_t *inbound_serving(knap_link_t *link, knap_call_t call) {
   inbound_t *place = knap_call_context(link->host, call, &caller.caller);
   return place && place->link == link ? place : NULL;
}

// A buffer with this text: the one of the last call, when it is the same.
static void remember(knap_link_t *link, knap_buffer_t **kept, knap_bytes_t *place, const char *text, uint64_t size) {
   if (*kept && place->size == size && !memcmp(place->data, text, size)) return;
   if (*kept) link->host->buffers->release(link->host, *kept);
   *kept = size ? link->host->buffers->keep(link->host, (knap_bytes_t){(const uint8_t *)text, size}, NULL, place) : NULL;
}

bool inbound_call(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   call_header_t header;
   if (message->size < sizeof header || message->tag >= KNAP_LINK_WINDOW) return false;
   memcpy(&header, body, sizeof header);
   uint64_t texts = (uint64_t)header.principal + header.trace + header.caller;
   inbound_t *place = &link->inbound[message->tag];
   if (texts > message->size - sizeof header || atomic_load_explicit(&place->used, memory_order_acquire)) return false;
   const char *at = (const char *)body + sizeof header;
   knap_outgoing_t outgoing = {
      .size = sizeof outgoing, .flags = message->flags & FLAG_STREAMS ? KNAP_OUTGOING_STREAMS : 0,
      .deadline_ns = message->a, .credit = header.credit, .caller = &caller.caller, .context = place,
      .body = {body + sizeof header + texts, message->size - sizeof header - texts},
   };
   remember(link, &link->origin.principal, &link->texts[0], at, header.principal);
   remember(link, &link->origin.trace, &link->texts[1], at + header.principal, header.trace);
   remember(link, &link->origin.caller, &link->texts[2], at + header.principal + header.trace, header.caller);
   knap_status_t status = KNAP_OK;
   if (message->flags & FLAG_PARENT) {
      outbound_t *served = outbound_of(link, header.parent_tag, header.parent_serial);
      if (served) outgoing.parent = served->call;
      else status = KNAP_INVALID_ARGUMENT; // it ended meanwhile, or never was
   }
   place->link = link;
   place->tag = message->tag;
   atomic_store_explicit(&place->serial, message->serial, memory_order_relaxed);
   atomic_store_explicit(&place->used, true, memory_order_release);
   atomic_fetch_add_explicit(&link->inbound_count, 1, memory_order_relaxed);
   place->watched = header.watched;
   place->call = 0;
   if (status == KNAP_OK) status = link->config.call(link->config.context, (uint32_t)message->b, &outgoing, &link->origin, &place->call);
   if (status != KNAP_OK) {
      knap_result_t refused = {.size = sizeof refused, .status = status};
      send_result(place, &refused);
   }
   return true;
}

bool inbound_item(knap_link_t *link, const knap_message_t *message, const uint8_t *body) {
   if (message->tag >= KNAP_LINK_WINDOW) return false;
   inbound_t *place = &link->inbound[message->tag];
   if (!atomic_load_explicit(&place->used, memory_order_acquire) || place->serial != message->serial) return true;
   const knap_calls_t *calls = link->host->calls;
   switch (message->kind) {
      case MESSAGE_GRANT: calls->grant(link->host, place->call, (uint32_t)message->a); return true;
      case MESSAGE_HALF_CLOSE: calls->half_close(link->host, place->call); return true;
      case MESSAGE_CANCEL:
         // A deadline crossed with the call and ends it here too, with its own reason.
         if (message->a != KNAP_DEADLINE_EXCEEDED) calls->cancel(link->host, place->call);
         return true;
      case MESSAGE_ITEM: break;
      default: return false;
   }
   if (message->b < KNAP_ITEM_DATA || message->b > KNAP_ITEM_REPLY) return false;
   knap_item_t item = {.size = sizeof item, .kind = (uint32_t)message->b, .id = message->a, .body = {body, message->size}};
   return calls->send(link->host, place->call, &item) != KNAP_RESOURCE_EXHAUSTED;
}

// The other side is gone: nobody waits for these answers.
void inbound_abandon(knap_link_t *link) {
   for (uint32_t tag = 0; tag < KNAP_LINK_WINDOW; tag++) {
      inbound_t *place = &link->inbound[tag];
      if (atomic_load_explicit(&place->used, memory_order_acquire) && place->call)
         link->host->calls->cancel(link->host, place->call);
   }
}
