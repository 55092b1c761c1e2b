#include "link.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

// One thread for the doorbells of all links. It sleeps in epoll while they are idle, and lingers at a link that was
// just busy. Doorbells are watched for edges, so that nobody has to read them.

enum { LINGER_NS = 5000, BATCH = 32, MOST_LINKS = 4096 };

struct knap_poller {
   int             epoll, stop;
   pthread_t       thread;
   pthread_mutex_t lock; // held while a link is polled, so that removal can wait for it
   knap_link_t    *links[MOST_LINKS];
   uint32_t        serials[MOST_LINKS];
};

static void poll_place(knap_poller_t *poller, uint64_t id) {
   uint32_t place = (uint32_t)id;
   pthread_mutex_lock(&poller->lock);
   // It may have been removed since the event was read.
   if (poller->links[place] && poller->serials[place] == id >> 32) knap_link_poll(poller->links[place], LINGER_NS);
   pthread_mutex_unlock(&poller->lock);
}

static void *run(void *context) {
   knap_poller_t *poller = context;
   struct epoll_event events[BATCH];
   for (;;) {
      int count = epoll_wait(poller->epoll, events, BATCH, -1);
      if (count < 0 && errno != EINTR) return NULL;
      for (int i = 0; i < count; i++) {
         if (events[i].data.u64 == UINT64_MAX) return NULL;
         poll_place(poller, events[i].data.u64);
      }
   }
}

knap_poller_t *knap_poller_create(void) {
   knap_poller_t *poller = calloc(1, sizeof *poller);
   if (!poller) return NULL;
   pthread_mutex_init(&poller->lock, NULL);
   poller->epoll = epoll_create1(EPOLL_CLOEXEC);
   poller->stop = eventfd(0, EFD_CLOEXEC);
   struct epoll_event stop = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
   if (poller->epoll < 0 || poller->stop < 0 || epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->stop, &stop)
       || pthread_create(&poller->thread, NULL, run, poller)) {
      if (poller->epoll >= 0) close(poller->epoll);
      if (poller->stop >= 0) close(poller->stop);
      free(poller);
      return NULL;
   }
   return poller;
}

void knap_poller_destroy(knap_poller_t *poller) {
   knap_ring_doorbell(poller->stop);
   pthread_join(poller->thread, NULL);
   close(poller->epoll);
   close(poller->stop);
   free(poller);
}

int knap_poller_add(knap_poller_t *poller, knap_link_t *link) {
   pthread_mutex_lock(&poller->lock);
   uint32_t place = 0;
   while (place < MOST_LINKS && poller->links[place]) place++;
   int failed = place == MOST_LINKS ? -ENOSPC : 0;
   if (!failed) {
      poller->links[place] = link;
      struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                  .data.u64 = (uint64_t)++poller->serials[place] << 32 | place};
      if (epoll_ctl(poller->epoll, EPOLL_CTL_ADD, link->config.doorbell, &event)) {
         failed = -errno;
         poller->links[place] = NULL;
      }
   }
   pthread_mutex_unlock(&poller->lock);
   // From its first look on the other side must ring: nobody has said so yet.
   if (!failed) knap_ring_doorbell(link->config.doorbell);
   return failed;
}

void knap_poller_remove(knap_poller_t *poller, knap_link_t *link) {
   pthread_mutex_lock(&poller->lock);
   for (uint32_t place = 0; place < MOST_LINKS; place++) {
      if (poller->links[place] != link) continue;
      poller->links[place] = NULL;
      epoll_ctl(poller->epoll, EPOLL_CTL_DEL, link->config.doorbell, NULL);
   }
   pthread_mutex_unlock(&poller->lock);
}
