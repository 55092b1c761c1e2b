#include "hot.h"
#include <stdlib.h>
#include <time.h>

// Threads for methods that block. The pool grows by a thread whenever a job finds none idle, up to its limit, and
// shrinks when one has been idle for a while; at rest it holds no thread.

static knap_job_t *wait_for_job(knap_engine_t *engine) {
   uint64_t until_ns = knap_now_ns() + (uint64_t)engine->pool_idle_ms * 1000000u;
   struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
   engine->pool_idle++;
   while (!engine->jobs && !engine->pool_stopping)
      if (pthread_cond_timedwait(&engine->pool_work, &engine->pool_lock, &until)) break;
   engine->pool_idle--;
   knap_job_t *job = engine->jobs;
   if (job) {
      engine->pool_queued--;
      engine->jobs = job->next;
      if (!engine->jobs) engine->jobs_last = NULL;
   }
   return job;
}

static void *run(void *context) {
   knap_engine_t *engine = context;
   pthread_mutex_lock(&engine->pool_lock);
   for (knap_job_t *job; (job = wait_for_job(engine));) {
      pthread_mutex_unlock(&engine->pool_lock);
      if (job->proceeds) knap_proceed(job->slot, job->bytes, job->body, NULL, NULL);
      else knap_run(job->slot, job->bytes, job->body);
      knap_buffer_drop(job->body);
      free(job);
      pthread_mutex_lock(&engine->pool_lock);
   }
   knap_thread_leaves();
   if (--engine->pool_threads == 0) pthread_cond_broadcast(&engine->pool_ended);
   pthread_mutex_unlock(&engine->pool_lock);
   return NULL;
}

// With the lock held. Starts a thread when more jobs wait than threads are idle.
static void grow(knap_engine_t *engine) {
   if (engine->pool_queued <= engine->pool_idle || engine->pool_threads >= engine->pool_limit) return;
   pthread_attr_t attributes;
   pthread_t thread;
   pthread_attr_init(&attributes);
   pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
   pthread_attr_setstacksize(&attributes, 1 << 20);
   if (!pthread_create(&thread, &attributes, run, engine)) engine->pool_threads++;
   pthread_attr_destroy(&attributes);
}

bool knap_pool_run(knap_slot_t *slot, knap_bytes_t body, knap_buffer_t *buffer, bool proceeds) {
   knap_engine_t *engine = slot->caller_party->engine;
   knap_job_t *job = malloc(sizeof *job);
   if (!job) return false;
   *job = (knap_job_t){.slot = slot, .proceeds = proceeds};
   job->body = knap_buffers.keep(NULL, body, buffer, &job->bytes);
   if (!job->body) {
      free(job);
      return false;
   }
   pthread_mutex_lock(&engine->pool_lock);
   if (engine->jobs_last) engine->jobs_last->next = job;
   else engine->jobs = job;
   engine->jobs_last = job;
   engine->pool_queued++;
   grow(engine);
   pthread_cond_signal(&engine->pool_work);
   pthread_mutex_unlock(&engine->pool_lock);
   return true;
}

void knap_pool_stop(knap_engine_t *engine) {
   pthread_mutex_lock(&engine->pool_lock);
   engine->pool_stopping = true;
   pthread_cond_broadcast(&engine->pool_work);
   while (engine->pool_threads) pthread_cond_wait(&engine->pool_ended, &engine->pool_lock);
   pthread_mutex_unlock(&engine->pool_lock);
}
