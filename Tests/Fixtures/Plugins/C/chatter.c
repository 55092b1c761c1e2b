// What a client of many calls asks for: long answers, calls that last, and methods that talk without end.
#include "plain.h"
#include <stdatomic.h>

// The number after a name in the request's body.
static long number(const knap_request_t *request, const char *name, long otherwise) {
   char body[1024] = "";
   memcpy(body, request->body.data, request->body.size < sizeof body ? request->body.size : sizeof body - 1);
   const char *found = strstr(body, name);
   return found ? strtol(found + strlen(name) + 2, NULL, 10) : otherwise;
}

METHOD(echo) { finish(instance, request->call, KNAP_OK, (const char *)request->body.data, request->body.size); }

// A text of so many bytes.
METHOD(say) {
   long size = number(request, "bytes", 0);
   char *body = malloc((size_t)size + 2);
   memset(body, 'k', (size_t)size + 2);
   body[0] = body[size + 1] = '"';
   finish(instance, request->call, KNAP_OK, body, (uint64_t)size + 2);
   free(body);
}

// One call that lasts. Who ends it holds a reference, and so does the host.
typedef struct {
   instance_t *self;
   knap_call_t call;
   atomic_int  ended, references;
} lasting_t;

static void release(lasting_t *lasting) {
   if (atomic_fetch_sub(&lasting->references, 1) == 1) free(lasting);
}
static void end(lasting_t *lasting, knap_status_t status) {
   if (atomic_exchange(&lasting->ended, 1)) return;
   __atomic_sub_fetch(&lasting->self->count, 1, __ATOMIC_SEQ_CST);
   finish(lasting->self, lasting->call, status, "\"done\"", status == KNAP_OK ? 6 : 0);
}
static void no_item(void *context, knap_call_t call, const knap_item_t *item) { (void)context, (void)call, (void)item; }
static void nothing(void *context, knap_call_t call) { (void)context, (void)call; }
static void cancelled(void *context, knap_call_t call, knap_status_t reason) { (void)call, end(context, reason); }
static void closed(void *context) { release(context); }
static const knap_callee_t lasts = {sizeof lasts, 0, no_item, nothing, nothing, cancelled, closed};

static lasting_t *begin(instance_t *self, const knap_request_t *request, int references) {
   lasting_t *lasting = calloc(1, sizeof *lasting);
   lasting->self = self;
   lasting->call = request->call;
   atomic_init(&lasting->references, references);
   __atomic_add_fetch(&self->count, 1, __ATOMIC_SEQ_CST);
   self->host->calls->listen(self->host, request->call, &lasts, lasting);
   return lasting;
}

// Ends only when it is cancelled.
METHOD(wait) { begin(instance, request, 1); }

// How many calls last now.
METHOD(lasting) {
   instance_t *self = instance;
   answer(self, request->call, "%ld", __atomic_load_n(&self->count, __ATOMIC_SEQ_CST));
}

// Reports progress and logs as fast as it can, so many times or until it is cancelled; the answer says that it did.
METHOD(chat) {
   instance_t *self = instance;
   lasting_t *lasting = begin(self, request, 2);
   long times = number(request, "times", -1), size = number(request, "bytes", 1000);
   char *text = malloc((size_t)size + 100);
   for (long time = 1; time != times + 1 && !atomic_load(&lasting->ended); time++) {
      int length = sprintf(text, "{\"progress\":%ld,\"level\":\"error\",\"message\":\"", time);
      memset(text + length, 'k', (size_t)size);
      strcpy(text + length + size, "\"}");
      knap_item_t item = {.size = sizeof item, .kind = time % 2 ? KNAP_ITEM_PROGRESS : KNAP_ITEM_LOG};
      item.body = (knap_bytes_t){(const uint8_t *)text, (uint64_t)length + (uint64_t)size + 2};
      self->host->calls->send(self->host, request->call, &item);
      usleep(50);
   }
   free(text);
   end(lasting, KNAP_OK);
   release(lasting);
}

#define METHODS(X) \
   X(echo) X(say) X(wait) X(lasting) X(chat)

PLUGIN
