#include "hot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The engine itself, its parties, routes and bindings: what changes rarely, under one lock.

static const knap_calls_t calls = {
   .size = sizeof(knap_calls_t), .complete = knap_complete, .listen = knap_listen, .send = knap_send,
   .half_close = knap_half_close, .grant = knap_grant, .cancel = knap_cancel, .info = knap_info,
   .wait = knap_wait,
};

static void make_condition(pthread_cond_t *condition) {
   pthread_condattr_t attributes;
   pthread_condattr_init(&attributes);
   pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
   pthread_cond_init(condition, &attributes);
   pthread_condattr_destroy(&attributes);
}

knap_engine_t *knap_engine_create(const knap_engine_config_t *config) {
   knap_engine_t *engine = calloc(1, sizeof *engine);
   if (!engine) return NULL;
   knap_watch_prepare();
   pthread_mutex_init(&engine->lock, NULL);
   pthread_mutex_init(&engine->timer_lock, NULL);
   pthread_mutex_init(&engine->pool_lock, NULL);
   pthread_mutex_init(&engine->line_lock, NULL);
   atomic_init(&engine->random, config && config->seed ? config->seed : knap_now_ns());
   make_condition(&engine->timer_changed);
   make_condition(&engine->pool_work);
   make_condition(&engine->pool_ended);
   engine->pool_limit = config && config->pool_threads ? config->pool_threads : 64;
   engine->pool_idle_ms = config && config->pool_idle_ms ? config->pool_idle_ms : 10000;
   return engine;
}

static void free_party(knap_party_t *party) {
   for (uint32_t i = 0; i < KNAP_BIND_CHUNKS; i++) free((void *)party->bindings[i]);
   knap_buffer_drop(party->principal);
   free(party->waits_for);
   free(party->name);
   free(party);
}

void knap_engine_destroy(knap_engine_t *engine) {
   knap_watch_stop(engine);
   knap_pool_stop(engine);
   knap_timers_stop(engine);
   knap_threads_retire(engine);
   for (uint32_t i = 0; i < engine->chunk_count; i++) free(engine->chunks[i]);
   for (knap_party_t *party = engine->parties, *next; party; party = next) next = party->next, free_party(party);
   for (knap_route_t *route = engine->routes, *next; route; route = next) {
      next = route->next;
      for (knap_target_t *target = route->targets, *after; target; target = after) after = target->next, free(target);
      free((char *)route->name);
      free(route);
   }
   knap_gates_free(engine);
   knap_hook_list_t *list = atomic_load(&engine->hooks);
   for (knap_hook_list_t *next, *each = list ? list : engine->retired_hooks; each; each = next) {
      next = each->next;
      free(each->closed);
      free(each);
   }
   free(engine);
}

static const void *extension(const knap_host_t *host, const char *id) {
   knap_party_t *party = knap_party_of(host);
   return party->extension ? party->extension(host, id) : NULL;
}

// One that was retired by an earlier generation of the same name, or null.
static knap_party_t *take_retired(knap_engine_t *engine, const char *name) {
   pthread_mutex_lock(&engine->lock);
   knap_party_t *party = engine->parties;
   while (party && !(party->retired && !strcmp(party->name, name))) party = party->next;
   if (party) party->retired = false;
   pthread_mutex_unlock(&engine->lock);
   return party;
}

static knap_party_t *make_party(knap_engine_t *engine, const char *name) {
   knap_party_t *party = aligned_alloc(64, sizeof *party);
   if (!party) return NULL;
   memset(party, 0, sizeof *party);
   party->host = (knap_host_t){.size = sizeof(knap_host_t), .abi = 0, .calls = &calls, .buffers = &knap_buffers,
                               .extension = extension};
   party->engine = engine;
   party->name = strdup(name);
   party->name_size = strlen(name);
   party->callback = (knap_target_t){.party = party, .name = "a callback"};
   party->named = (knap_target_t){.party = party, .flags = KNAP_ROUTE_BLOCKING};
   knap_breaker_init(&party->breaker);
   pthread_mutex_init(&party->bind_lock, NULL);
   char principal[256];
   int size = snprintf(principal, sizeof principal, "plugin:%s", name);
   party->principal = knap_buffer_copy(principal, (uint64_t)size < sizeof principal ? (uint64_t)size : sizeof principal - 1);
   if (!party->name || !party->principal) {
      free_party(party);
      return NULL;
   }
   pthread_mutex_lock(&engine->lock);
   party->next = engine->parties;
   engine->parties = party;
   pthread_mutex_unlock(&engine->lock);
   return party;
}

knap_party_t *knap_party_create(knap_engine_t *engine, const knap_party_config_t *config) {
   knap_party_t *party = take_retired(engine, config->name);
   if (!party && !(party = make_party(engine, config->name))) return NULL;
   party->context = config->context;
   party->extension = config->extension;
   party->assert_principal = config->assert_principal;
   atomic_store(&party->generation, config->generation);
   knap_party_limit(party, config);
   knap_budget_init(party);
   return party;
}

static bool is_routed(const knap_party_t *party) {
   knap_engine_t *engine = party->engine;
   pthread_mutex_lock(&engine->lock);
   bool found = false;
   for (knap_route_t *route = engine->routes; route && !found; route = route->next) {
      const knap_target_t *targets[] = {atomic_load(&route->target), atomic_load(&route->fallback)};
      for (int i = 0; i < 2; i++) found |= targets[i] && targets[i]->party == party;
   }
   pthread_mutex_unlock(&engine->lock);
   return found;
}

// A call that read its route long ago may still ask for a permit here, see that the party is closed, and give it back: so
// the memory stays a party, of the same name, and what such a call touches keeps its balance.
void *knap_party_retire(knap_party_t *party) {
   if (is_routed(party)) return NULL;
   void *context = party->context;
   atomic_store(&party->open, PARTY_CLOSED);
   knap_party_end_timers(party);
   pthread_mutex_lock(&party->bind_lock);
   for (uint32_t i = 0; i < party->bind_next; i++)
      atomic_store(&party->bindings[i / KNAP_BIND_CHUNK][i % KNAP_BIND_CHUNK], NULL);
   party->bind_next = 0;
   pthread_mutex_unlock(&party->bind_lock);
   for (uint32_t i = 0; i < KNAP_CELLS; i++) {
      uint64_t entered = atomic_load(&party->cells[i].calls) >> 32;
      atomic_fetch_sub(&party->cells[i].calls, entered << 32);
   }
   for (uint32_t i = 0; i < KNAP_FAILURES; i++) atomic_store(&party->failed[i], 0);
   atomic_uint_fast64_t *const counts[] = {&party->late, &party->misused, &party->refused, &party->waited, &party->retried,
                                           &party->retries_denied, &party->fell_back, &party->stood_in};
   for (uint32_t i = 0; i < sizeof counts / sizeof *counts; i++) atomic_store(counts[i], 0);
   knap_breaker_forget(party);
   atomic_store(&party->generation, 0);
   party->context = NULL;
   pthread_mutex_lock(&party->engine->lock);
   party->retired = true;
   pthread_mutex_unlock(&party->engine->lock);
   return context;
}

void knap_party_limit(knap_party_t *party, const knap_party_config_t *config) {
   knap_bulkhead_set(party, config->in_flight ? config->in_flight : 4096, config->queue);
   knap_breaker_set(&party->breaker, config);
}

const knap_host_t *knap_party_host(const knap_party_t *party) { return &party->host; }
knap_engine_t *knap_party_engine(const knap_party_t *party) { return party->engine; }
knap_party_t *knap_party_of(const knap_host_t *host) { return (knap_party_t *)host; }
void *knap_party_context(const knap_host_t *host) { return knap_party_of(host)->context; }

void knap_party_open(knap_party_t *party, int32_t open) {
   if (open) knap_breaker_reset(party);
   atomic_store_explicit(&party->open, open ? PARTY_OPEN : PARTY_CLOSED, memory_order_seq_cst);
   if (!open) knap_bulkhead_flush(party); // nobody waits for a closed one
}

void knap_party_count(const knap_party_t *party, knap_party_counts_t *counts) {
   *counts = (knap_party_counts_t){
      .failed_caller = party->failed[KNAP_FAILURE_CALLER], .failed_transient = party->failed[KNAP_FAILURE_TRANSIENT],
      .failed_permanent = party->failed[KNAP_FAILURE_PERMANENT], .failed_plugin = party->failed[KNAP_FAILURE_PLUGIN],
      .failed_overload = party->failed[KNAP_FAILURE_OVERLOAD],
      .late = party->late, .misused = party->misused, .refused = party->refused, .queued = party->queued,
      .waited = party->waited, .retried = party->retried, .retries_denied = party->retries_denied,
      .fell_back = party->fell_back, .stood_in = party->stood_in,
   };
   knap_breaker_count((knap_party_t *)party, counts);
   atomic_thread_fence(memory_order_seq_cst); // after a change of routes or gates that the caller made
   for (uint32_t i = 0; i < KNAP_CELLS; i++) {
      uint64_t calls = atomic_load_explicit(&party->cells[i].calls, memory_order_acquire);
      counts->entered += calls >> 32;
      counts->in_flight += (uint32_t)calls;
   }
   // What came from the common pool is what the pool lacks now.
   uint32_t shared = party->share * KNAP_CELLS;
   long long common = atomic_load_explicit(&party->bulkhead.common, memory_order_acquire);
   long long whole = party->bulkhead.limit - (long long)shared;
   if (common < whole) counts->in_flight += (uint64_t)(whole - common);
}

knap_route_t *knap_route_named(knap_engine_t *engine, const char *name) {
   pthread_mutex_lock(&engine->lock);
   knap_route_t *route = engine->routes;
   while (route && strcmp(route->name, name)) route = route->next;
   if (!route && (route = aligned_alloc(64, sizeof *route))) {
      memset(route, 0, sizeof *route);
      route->name = strdup(name);
      route->next = engine->routes;
      engine->routes = route;
   }
   pthread_mutex_unlock(&engine->lock);
   return route;
}

static uint32_t at_most(uint32_t value, uint32_t limit) { return value < limit ? value : limit; }

static const knap_target_t *make_target(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision,
                                        bool is_fallback) {
   knap_target_t *target = calloc(1, sizeof *target);
   if (!target) return NULL;
   uint32_t extra = (provision->retries ? TARGET_RETRIES : 0) | (is_fallback ? TARGET_FALLBACK : 0);
   *target = (knap_target_t){.call = provision->method->call, .instance = provision->instance,
                             .party = provision->party, .index = provision->index, .flags = provision->flags | extra,
                             .timeout_ns = provision->timeout_ns, .name = route->name, .route = route,
                             .retries = (uint8_t)at_most(provision->retries, UINT8_MAX),
                             .is_fallback = is_fallback};
   if (provision->concurrency) {
      target->places = &route->places[is_fallback];
      knap_bulkhead_limit(target->places, provision->party, provision->concurrency);
   }
   pthread_mutex_lock(&engine->lock);
   target->next = route->targets; // kept until the end: a call may have loaded it and not yet entered
   route->targets = target;
   pthread_mutex_unlock(&engine->lock);
   return target;
}

static bool is_empty(const knap_party_t *party) {
   knap_party_counts_t counts;
   knap_party_count(party, &counts);
   return counts.in_flight == 0;
}

// Whether a generation of the target's party can have it in place of a target of its own.
static bool is_reusable(const knap_target_t *target, const knap_provision_t *provision, bool is_fallback) {
   uint32_t flags = provision->flags | (provision->retries ? TARGET_RETRIES : 0) | (is_fallback ? TARGET_FALLBACK : 0);
   return target->party == provision->party && target->is_fallback == is_fallback && target->flags == flags
          && target->timeout_ns == provision->timeout_ns && target->retries == at_most(provision->retries, UINT8_MAX)
          && !target->places == !provision->concurrency;
}

static bool is_in_use(knap_engine_t *engine, const knap_target_t *target) {
   for (uint32_t number = 0; number < engine->chunk_count; number++) {
      knap_slot_t *chunk = atomic_load_explicit(&engine->chunks[number], memory_order_acquire);
      for (uint32_t i = 0; i < KNAP_CHUNK_SLOTS; i++)
         if ((uint32_t)knap_word(&chunk[i]) && atomic_load(&chunk[i].target) == target) return true;
   }
   return false;
}

// Whether nobody has been let in by the target and not ended, and nobody is before it changes: who takes a permit from now on
// sees that its party is not open, or that it is no longer the route's.
static bool is_free(knap_engine_t *engine, const knap_target_t *target) {
   const knap_route_t *route = target->route;
   if (atomic_load_explicit(&target->party->open, memory_order_seq_cst) != PARTY_OPEN) return is_empty(target->party);
   return atomic_load_explicit(&route->target, memory_order_seq_cst) != target
          && atomic_load_explicit(&route->fallback, memory_order_seq_cst) != target && !is_in_use(engine, target);
}

// The next generation of the same party takes over the target of an earlier one, so that not one is left behind with every
// reload. What a call reads before it has a permit stays as it is; the rest it reads once it is let in, which is after the
// change.
static const knap_target_t *renew(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision, bool is_fallback) {
   pthread_mutex_lock(&engine->lock);
   knap_target_t *target = route->targets;
   while (target && !(is_reusable(target, provision, is_fallback) && is_free(engine, target))) target = target->next;
   if (target) {
      target->call = provision->method->call;
      target->instance = provision->instance;
      target->index = provision->index;
   }
   pthread_mutex_unlock(&engine->lock);
   if (target && provision->concurrency) knap_bulkhead_limit(target->places, provision->party, provision->concurrency);
   return target;
}

static void provide(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision, bool is_fallback) {
   const knap_target_t *target = provision ? renew(engine, route, provision, is_fallback) : NULL;
   if (!target && provision) target = make_target(engine, route, provision, is_fallback);
   if (!target && provision) return; // no memory
   const knap_target_t *old = atomic_exchange(is_fallback ? &route->fallback : &route->target, target);
   // What waits for a place of the old one need not wait for its calls to end.
   if (old && (!target || target->party != old->party) && atomic_load(&old->party->queued)) knap_bulkhead_flush(old->party);
}

void knap_route_provide(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision) {
   provide(engine, route, provision, false);
}

void knap_route_provide_fallback(knap_engine_t *engine, knap_route_t *route, const knap_provision_t *provision) {
   provide(engine, route, provision, true);
}

uint64_t knap_party_bind(knap_party_t *party, knap_route_t *route) {
   pthread_mutex_lock(&party->bind_lock);
   uint32_t at = party->bind_next, chunk = at / KNAP_BIND_CHUNK;
   uint64_t binding = 0;
   if (chunk < KNAP_BIND_CHUNKS) {
      if (!party->bindings[chunk]) party->bindings[chunk] = calloc(KNAP_BIND_CHUNK, sizeof(_Atomic(knap_route_t *)));
      if (party->bindings[chunk]) {
         atomic_store_explicit(&party->bindings[chunk][at % KNAP_BIND_CHUNK], route, memory_order_release);
         party->bind_next++;
         binding = at + 1;
      }
   }
   pthread_mutex_unlock(&party->bind_lock);
   return binding;
}

void knap_party_unbind(knap_party_t *party, uint64_t binding) {
   if (!binding || binding > (uint64_t)KNAP_BIND_CHUNK * KNAP_BIND_CHUNKS) return;
   pthread_mutex_lock(&party->bind_lock);
   uint32_t at = (uint32_t)binding - 1;
   if (at < party->bind_next)
      atomic_store_explicit(&party->bindings[at / KNAP_BIND_CHUNK][at % KNAP_BIND_CHUNK], NULL, memory_order_release);
   pthread_mutex_unlock(&party->bind_lock);
}

void knap_engine_hooks(knap_engine_t *engine, const knap_hooked_t *hooks, uint32_t count, const knap_closure_t *closure) {
   knap_hook_list_t *list = count || closure ? calloc(1, sizeof *list + count * sizeof *hooks) : NULL;
   if (list) {
      if (closure) list->closed = strdup(closure->reason), list->open = closure->open;
      list->count = count;
      for (uint32_t i = 0; i < count; i++) list->observes |= hooks[i].observe != NULL;
      if (count) memcpy(list->hooks, hooks, count * sizeof *hooks);
   }
   // An old list stays until the end: calls in flight may be reading it. Changes are rare.
   pthread_mutex_lock(&engine->lock);
   knap_hook_list_t *old = atomic_load(&engine->hooks);
   if (old) engine->retired_hooks = old; // whose `next` leads to those before it
   if (list) list->next = engine->retired_hooks;
   atomic_store_explicit(&engine->hooks, list, memory_order_release);
   pthread_mutex_unlock(&engine->lock);
}
