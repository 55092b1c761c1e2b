#include "hot.h"
#include <string.h>

// The circuit breaker of a party (Nygard, Release It!): so many failures within a period open it, calls then fail at
// once; when its time is over one call tries, and its end closes the breaker or opens it again. Only failures and calls
// to a party whose breaker is not closed get here.

enum { DEFAULT_PERIOD_S = 60 };

void knap_breaker_init(knap_breaker_t *breaker) { pthread_mutex_init(&breaker->lock, NULL); }

void knap_breaker_set(knap_breaker_t *breaker, const knap_party_config_t *config) {
   pthread_mutex_lock(&breaker->lock);
   breaker->limit = config->breaker_failures;
   breaker->period_ns = config->breaker_period_ns ? config->breaker_period_ns : DEFAULT_PERIOD_S * 1000000000ull;
   breaker->open_ns = config->breaker_open_ns;
   breaker->changed = config->breaker_changed;
   pthread_mutex_unlock(&breaker->lock);
}

static uint64_t milliseconds(uint64_t ns) { return (ns + 999999) / 1000000; }

// Forgets what is older than the period, to a sixteenth of it.
static void advance(knap_breaker_t *breaker, uint64_t now) {
   uint64_t width = breaker->period_ns / BREAKER_BUCKETS, bucket = now / (width ? width : 1);
   if (bucket - breaker->bucket >= BREAKER_BUCKETS) memset(breaker->failures, 0, sizeof breaker->failures);
   else
      while (breaker->bucket < bucket) breaker->failures[++breaker->bucket % BREAKER_BUCKETS] = 0;
   breaker->bucket = bucket;
}

static void open_until(knap_party_t *party, uint64_t until) {
   knap_breaker_t *breaker = &party->breaker;
   breaker->state = KNAP_BREAKER_OPEN;
   breaker->until_ns = until;
   breaker->trying = 0;
   breaker->opened++;
   memset(breaker->failures, 0, sizeof breaker->failures);
   atomic_fetch_or_explicit(&party->bulkhead.alert, ALERT_BREAKER, memory_order_seq_cst);
}

static void close_again(knap_party_t *party) {
   party->breaker.state = KNAP_BREAKER_CLOSED;
   party->breaker.trying = 0;
   atomic_fetch_and_explicit(&party->bulkhead.alert, ~(unsigned)ALERT_BREAKER, memory_order_seq_cst);
}

bool knap_breaker_admits(knap_party_t *party, uint64_t call, knap_refusal_t *refusal) {
   knap_breaker_t *breaker = &party->breaker;
   if (!knap_alerted(&party->bulkhead, ALERT_BREAKER)) return true;
   pthread_mutex_lock(&breaker->lock);
   uint64_t now = knap_now_ns(), until = breaker->until_ns;
   bool admits = breaker->state == KNAP_BREAKER_CLOSED;
   if (!admits && now >= until && (!breaker->trying || breaker->trying == call
                                   || now - until >= breaker->open_ns)) { // or the one that tries hangs
      admits = true;
      if (call && breaker->trying != call) {
         breaker->state = KNAP_BREAKER_HALF_OPEN;
         breaker->trying = call;
         breaker->until_ns = now;
      }
   }
   pthread_mutex_unlock(&breaker->lock);
   if (admits) return true;
   if (now < until)
      knap_refusal_make(refusal, KNAP_UNAVAILABLE, (int64_t)milliseconds(until - now), false,
                        "%s failed %u times within %llu ms, so its circuit breaker lets no call through for another %llu "
                        "ms; try again then, and see `knap plugins info %s`",
                        party->name, breaker->limit, (unsigned long long)milliseconds(breaker->period_ns),
                        (unsigned long long)milliseconds(until - now), party->name);
   else
      knap_refusal_make(refusal, KNAP_UNAVAILABLE, RETRY_LATER, false,
                        "the circuit breaker of %s is half-open: one call tries whether it works again; try again when that "
                        "call has ended", party->name);
   refusal->by_breaker = true;
   return false;
}

void knap_breaker_note(knap_party_t *party, uint64_t call, knap_attempt_t attempt) {
   knap_breaker_t *breaker = &party->breaker;
   pthread_mutex_lock(&breaker->lock);
   if (!breaker->limit) attempt = ATTEMPT_UNDECIDED;
   knap_breaker_state_t before = breaker->state, after;
   bool tried = before != KNAP_BREAKER_CLOSED && breaker->trying == call;
   if (tried && attempt == ATTEMPT_UNDECIDED) breaker->trying = 0;
   else if (tried && attempt == ATTEMPT_SUCCEEDED) close_again(party);
   else if (tried) open_until(party, knap_now_ns() + breaker->open_ns);
   else if (before == KNAP_BREAKER_CLOSED && attempt == ATTEMPT_FAILED) {
      uint64_t now = knap_now_ns();
      advance(breaker, now);
      breaker->failures[breaker->bucket % BREAKER_BUCKETS]++;
      uint64_t failures = 0;
      for (int i = 0; i < BREAKER_BUCKETS; i++) failures += breaker->failures[i];
      if (failures >= breaker->limit) open_until(party, now + breaker->open_ns);
   }
   after = breaker->state;
   void (*changed)(const knap_host_t *, knap_breaker_state_t) = breaker->changed;
   pthread_mutex_unlock(&breaker->lock);
   bool opened = before == KNAP_BREAKER_CLOSED && after == KNAP_BREAKER_OPEN;
   bool closed = before != KNAP_BREAKER_CLOSED && after == KNAP_BREAKER_CLOSED;
   if (changed && (opened || closed)) changed(&party->host, after);
}

void knap_breaker_reset(knap_party_t *party) {
   knap_breaker_t *breaker = &party->breaker;
   pthread_mutex_lock(&breaker->lock);
   bool closes = breaker->state != KNAP_BREAKER_CLOSED;
   close_again(party);
   memset(breaker->failures, 0, sizeof breaker->failures);
   pthread_mutex_unlock(&breaker->lock);
   if (closes && breaker->changed) breaker->changed(&party->host, KNAP_BREAKER_CLOSED);
}

void knap_breaker_forget(knap_party_t *party) {
   knap_breaker_t *breaker = &party->breaker;
   pthread_mutex_lock(&breaker->lock);
   breaker->limit = 0;
   breaker->opened = 0;
   breaker->changed = NULL;
   pthread_mutex_unlock(&breaker->lock);
   knap_breaker_reset(party);
}

void knap_breaker_count(knap_party_t *party, knap_party_counts_t *counts) {
   knap_breaker_t *breaker = &party->breaker;
   pthread_mutex_lock(&breaker->lock);
   uint64_t now = knap_now_ns();
   counts->breaker = breaker->state;
   if (breaker->state == KNAP_BREAKER_OPEN && now >= breaker->until_ns) counts->breaker = KNAP_BREAKER_HALF_OPEN;
   if (counts->breaker == KNAP_BREAKER_OPEN) counts->breaker_open_ns = breaker->until_ns - now;
   counts->breaker_open = counts->breaker != KNAP_BREAKER_CLOSED;
   counts->breaker_opened = breaker->opened;
   pthread_mutex_unlock(&breaker->lock);
}
