// A plugin that talks with a twin of itself (-DOTHER names the twin's service) in every way that calls allow, and answers
// with what came of it. What it asks of the twin are the methods of the first part.
#include "plain.h"
#include <stdatomic.h>
#include <time.h>

// ## What the twin is asked

METHOD(echo) { finish(instance, request->call, KNAP_OK, (const char *)request->body.data, request->body.size); }

METHOD(about) {
   instance_t *self = instance;
   knap_call_info_t info = {.size = sizeof info};
   self->host->calls->info(self->host, request->call, &info);
   answer(self, request->call, "{\"principal\": \"%.*s\", \"caller\": \"%.*s\", \"method\": \"%.*s\", \"has_deadline\": %s}",
          (int)info.principal.size, info.principal.data, (int)info.caller.size, info.caller.data, (int)info.method.size,
          info.method.data, info.deadline_ns ? "true" : "false");
}

// One item is on its way at most, so whoever has it is alone. `ends` counts what must happen before the answer: the caller
// closes, and the item in hand is sent.
typedef struct {
   instance_t *self;
   knap_call_t call;
   long        items, held;
   atomic_int  ends;
} mirror_t;

static void mirror_ends(mirror_t *mirror) {
   if (atomic_fetch_sub(&mirror->ends, 1) == 1) answer(mirror->self, mirror->call, "%ld", mirror->items);
}
static void give(mirror_t *mirror) {
   const knap_host_t *host = mirror->self->host;
   knap_call_t call = mirror->call;
   knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {(const uint8_t *)&mirror->held, sizeof mirror->held}};
   if (host->calls->send(host, call, &item) == KNAP_RESOURCE_EXHAUSTED) return; // `mirror_credit` tries again
   mirror_ends(mirror);
   host->calls->grant(host, call, 1); // the next item may come before this returns
}
static void mirror_item(void *context, knap_call_t call, const knap_item_t *item) {
   mirror_t *mirror = context;
   (void)call;
   atomic_fetch_add(&mirror->ends, 1);
   memcpy(&mirror->held, item->body.data, sizeof mirror->held);
   mirror->items++;
   give(mirror);
}
static void mirror_close(void *context, knap_call_t call) {
   (void)call;
   mirror_ends(context);
}
static void mirror_credit(void *context, knap_call_t call) {
   (void)call;
   give(context);
}
static void stop(void *context, knap_call_t call, knap_status_t reason) {
   mirror_t *mirror = context;
   __atomic_store_n(&mirror->self->count, reason, __ATOMIC_SEQ_CST);
   finish(mirror->self, call, reason, NULL, 0);
}
static const knap_callee_t mirroring = {sizeof mirroring, 0, mirror_item, mirror_close, mirror_credit, stop, free};

static void listen(instance_t *self, knap_call_t call, const knap_callee_t *callee) {
   mirror_t *mirror = calloc(1, sizeof *mirror);
   mirror->self = self;
   mirror->call = call;
   atomic_init(&mirror->ends, 1);
   self->host->calls->listen(self->host, call, callee, mirror);
}

// Sends every item back; the answer is how many there were.
METHOD(mirror) {
   instance_t *self = instance;
   listen(self, request->call, &mirroring);
   self->host->calls->grant(self->host, request->call, 1);
}
static void no_input(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void nothing(void *context, knap_call_t call) { (void)context; (void)call; }
static const knap_callee_t waiting = {sizeof waiting, 0, no_input, nothing, nothing, stop, free};
// Ends only when it is cancelled.
METHOD(wait) {
   instance_t *self = instance;
   __atomic_store_n(&self->count, 0, __ATOMIC_SEQ_CST);
   listen(self, request->call, &waiting);
}
// With which reason the last `wait` was cancelled.
METHOD(cancelled) {
   instance_t *self = instance;
   answer(self, request->call, "%ld", __atomic_load_n(&self->count, __ATOMIC_SEQ_CST));
}

// Answers with the caller's reply to a question; reports progress before.
static void asked_item(void *context, knap_call_t call, const knap_item_t *item) {
   instance_t *self = context;
   if (item->kind == KNAP_ITEM_REPLY && item->id == 7) finish(self, call, KNAP_OK, (const char *)item->body.data, item->body.size);
}
static void asked_cancel(void *context, knap_call_t call, knap_status_t reason) { finish(context, call, reason, NULL, 0); }
static void asked_closed(void *context) { (void)context; }
static const knap_callee_t asking = {sizeof asking, 0, asked_item, nothing, nothing, asked_cancel, asked_closed};
METHOD(ask) {
   instance_t *self = instance;
   const knap_calls_t *calls = self->host->calls;
   calls->listen(self->host, request->call, &asking, self);
   calls->grant(self->host, request->call, 1);
   knap_item_t progress = {.size = sizeof progress, .kind = KNAP_ITEM_PROGRESS, .body = {(const uint8_t *)"{\"progress\":1}", 14}};
   calls->send(self->host, request->call, &progress);
   knap_item_t question = {.size = sizeof question, .kind = KNAP_ITEM_REQUEST, .id = 7, .body = {(const uint8_t *)"\"colour?\"", 9}};
   calls->send(self->host, request->call, &question);
}

// ## What it does with the twin

enum { ITEMS = 1000 };

typedef struct {
   instance_t     *self;
   knap_call_t     served, made;
   long            next, received, progress;
   bool            ordered;
   knap_status_t   misuse;
} talk_t;

static knap_status_t call_twin(talk_t *talk, const char *method, knap_outgoing_t outgoing) {
   instance_t *self = talk->self;
   EXTENSION(knap_host_services_t, KNAP_EXT_SERVICES);
   char name[128];
   snprintf(name, sizeof name, "%s.%s", OTHER, method);
   knap_binding_t binding = 0;
   knap_status_t status = table->bind(self->host, text(name), text("^1.0.0"), &binding);
   outgoing.size = sizeof outgoing;
   outgoing.context = talk;
   if (status == KNAP_OK) status = table->call(self->host, binding, &outgoing, &talk->made);
   table->unbind(self->host, binding);
   return status;
}
static void start(instance_t *self, const knap_request_t *request, const char *method, knap_outgoing_t outgoing) {
   talk_t *talk = calloc(1, sizeof *talk);
   *talk = (talk_t){.self = self, .served = request->call, .ordered = true};
   knap_status_t status = call_twin(talk, method, outgoing);
   if (status == KNAP_OK) return;
   answer(self, request->call, "{\"refused\": %d}", status);
   free(talk);
}

static void no_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context; (void)call; (void)item; }
static void no_credit(void *context, knap_call_t call) { (void)context; (void)call; }

// Passes the twin's answer on, or its status.
static void passed(void *context, knap_call_t call, const knap_result_t *result) {
   talk_t *talk = context;
   (void)call;
   if (result->status == KNAP_OK) finish(talk->self, talk->served, KNAP_OK, (const char *)result->body.data, result->body.size);
   else answer(talk->self, talk->served, "{\"status\": %d}", result->status);
   free(talk);
}
static const knap_caller_t passing = {sizeof passing, 0, passed, no_item, no_credit};

METHOD(relay) { start(instance, request, "about", (knap_outgoing_t){.parent = request->call, .caller = &passing}); }
METHOD(relay_alone) { start(instance, request, "about", (knap_outgoing_t){.caller = &passing}); }
METHOD(wrong_parent) { start(instance, request, "about", (knap_outgoing_t){.parent = request->call ^ 1ull << 40, .caller = &passing}); }
METHOD(forged) { start(instance, request, "about", (knap_outgoing_t){.principal = text("user:root"), .caller = &passing}); }

static uint64_t after(uint64_t milliseconds) {
   struct timespec time;
   clock_gettime(CLOCK_MONOTONIC, &time);
   return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec + milliseconds * 1000000;
}
METHOD(too_late) {
   start(instance, request, "wait", (knap_outgoing_t){.parent = request->call, .deadline_ns = after(50), .caller = &passing});
}

METHOD(large) {
   uint64_t size = 8 << 20;
   char *body = malloc(size);
   memset(body, 'x', size);
   body[0] = body[size - 1] = '"';
   start(instance, request, "echo", (knap_outgoing_t){.parent = request->call, .body = {(const uint8_t *)body, size}, .caller = &passing});
   free(body);
}

// Gives the call up after the twin has it.
METHOD(give_up) {
   instance_t *self = instance;
   talk_t *talk = calloc(1, sizeof *talk);
   *talk = (talk_t){.self = self, .served = request->call};
   if (call_twin(talk, "wait", (knap_outgoing_t){.parent = request->call, .caller = &passing}) != KNAP_OK)
      return answer(self, request->call, "null");
   usleep(20000);
   self->host->calls->cancel(self->host, talk->made);
}

// ITEMS numbers to the twin and back, a few at a time. After a refusal the credit's callback goes on, so that one thread
// at a time speaks.
static void speak(talk_t *talk, knap_call_t call) {
   const knap_host_t *host = talk->self->host;
   for (; talk->next < ITEMS; talk->next++) {
      knap_item_t item = {.size = sizeof item, .kind = KNAP_ITEM_DATA, .body = {(const uint8_t *)&talk->next, sizeof talk->next}};
      if (host->calls->send(host, call, &item) != KNAP_OK) return;
   }
   host->calls->half_close(host, call);
}
static void spoken_item(void *context, knap_call_t call, const knap_item_t *item) {
   talk_t *talk = context;
   long number;
   memcpy(&number, item->body.data, sizeof number);
   if (number != talk->received++) talk->ordered = false;
   talk->self->host->calls->grant(talk->self->host, call, 1);
}
static void spoken_credit(void *context, knap_call_t call) {
   speak(context, call);
}
static void spoken_end(void *context, knap_call_t call, const knap_result_t *result) {
   talk_t *talk = context;
   (void)call;
   answer(talk->self, talk->served, "{\"status\": %d, \"answer\": %.*s, \"received\": %ld, \"ordered\": %s}", result->status,
          (int)result->body.size, (const char *)result->body.data, talk->received, talk->ordered ? "true" : "false");
   free(talk);
}
static const knap_caller_t speaking = {sizeof speaking, 0, spoken_end, spoken_item, spoken_credit};
METHOD(speak_and_hear) {
   instance_t *self = instance;
   talk_t *talk = calloc(1, sizeof *talk);
   *talk = (talk_t){.self = self, .served = request->call, .ordered = true};
   knap_status_t status = call_twin(
      talk, "mirror", (knap_outgoing_t){.flags = KNAP_OUTGOING_STREAMS, .parent = request->call, .credit = 4, .caller = &speaking});
   if (status == KNAP_OK) speak(talk, talk->made);
   else answer(self, request->call, "{\"refused\": %d}", status);
}

// Answers the twin's question.
static void replied_item(void *context, knap_call_t call, const knap_item_t *item) {
   talk_t *talk = context;
   if (item->kind == KNAP_ITEM_PROGRESS) talk->progress++;
   if (item->kind != KNAP_ITEM_REQUEST) return;
   knap_item_t reply = {.size = sizeof reply, .kind = KNAP_ITEM_REPLY, .id = item->id, .body = {(const uint8_t *)"\"green\"", 7}};
   talk->misuse = talk->self->host->calls->send(talk->self->host, call, &reply);
}
static void replied_end(void *context, knap_call_t call, const knap_result_t *result) {
   talk_t *talk = context;
   (void)call;
   answer(talk->self, talk->served, "{\"status\": %d, \"answer\": %.*s, \"progress\": %ld, \"sent\": %d}", result->status,
          (int)result->body.size, (const char *)result->body.data, talk->progress, talk->misuse);
   free(talk);
}
static const knap_caller_t replying = {sizeof replying, 0, replied_end, replied_item, no_credit};
METHOD(reply) {
   start(instance, request, "ask",
         (knap_outgoing_t){.flags = KNAP_OUTGOING_STREAMS, .parent = request->call, .credit = 4, .caller = &replying});
}

#define METHODS(X) \
   X(echo) X(about) X(mirror) X(wait) X(cancelled) X(ask) X(relay) X(relay_alone) X(wrong_parent) X(forged) X(too_late) \
   X(large) X(give_up) X(speak_and_hear) X(reply)
PLUGIN
