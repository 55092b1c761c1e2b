#include "worker.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The control socket: one question at a time, answered by the host before the next. Without a host there is nothing to
// do but end.

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void append(text_buffer_t *buffer, const void *bytes, uint64_t size) {
   if (buffer->size + size > buffer->capacity) {
      uint64_t capacity = buffer->capacity ? buffer->capacity : 256;
      while (capacity < buffer->size + size) capacity *= 2;
      buffer->data = realloc(buffer->data, capacity);
      if (!buffer->data) _exit(70);
      buffer->capacity = capacity;
   }
   if (size) memcpy(buffer->data + buffer->size, bytes, size);
   buffer->size += size;
}

void put_u32(text_buffer_t *buffer, uint32_t value) { append(buffer, &value, sizeof value); }
void put_u64(text_buffer_t *buffer, uint64_t value) { append(buffer, &value, sizeof value); }
void put_text(text_buffer_t *buffer, knap_text_t text) {
   put_u32(buffer, (uint32_t)text.size);
   append(buffer, text.data, text.size);
}

static void extract(text_buffer_t *buffer, void *to, uint64_t size) {
   if (buffer->size - buffer->at < size) _exit(70); // the host and its worker are not of one build
   if (size) memcpy(to, buffer->data + buffer->at, size);
   buffer->at += size;
}
uint32_t get_u32(text_buffer_t *buffer) { uint32_t value; return extract(buffer, &value, sizeof value), value; }
uint64_t get_u64(text_buffer_t *buffer) { uint64_t value; return extract(buffer, &value, sizeof value), value; }
char *get_text(text_buffer_t *buffer, uint64_t *size) {
   uint32_t count = get_u32(buffer);
   char *text = malloc((uint64_t)count + 1);
   if (!text) _exit(70);
   extract(buffer, text, count);
   text[count] = 0;
   if (size) *size = count;
   return text;
}

// ## Bytes

static void send_all(const void *bytes, uint64_t size, int descriptor) {
   const uint8_t *at = bytes;
   while (size) {
      struct iovec vector = {(void *)at, size};
      union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
      struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
      if (descriptor >= 0) {
         message.msg_control = control.bytes;
         message.msg_controllen = sizeof control.bytes;
         struct cmsghdr *header = CMSG_FIRSTHDR(&message);
         *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
         memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
      }
      ssize_t sent = sendmsg(WORKER_CONTROL, &message, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) _exit(0);
      descriptor = -1;
      at += sent;
      size -= (uint64_t)sent;
   }
}

static void receive_all(void *bytes, uint64_t size, int *descriptor) {
   uint8_t *at = bytes;
   while (size) {
      struct iovec vector = {at, size};
      union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
      struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes,
                               .msg_controllen = sizeof control.bytes};
      ssize_t received = recvmsg(WORKER_CONTROL, &message, MSG_CMSG_CLOEXEC);
      if (received < 0 && errno == EINTR) continue;
      if (received <= 0) _exit(0);
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      if (header && header->cmsg_type == SCM_RIGHTS) {
         int received_descriptor;
         memcpy(&received_descriptor, CMSG_DATA(header), sizeof received_descriptor);
         if (descriptor) *descriptor = received_descriptor;
         else close(received_descriptor);
      }
      at += received;
      size -= (uint64_t)received;
   }
}

// ## Frames

static void send_frame(uint16_t operation, const text_buffer_t *body, int descriptor) {
   frame_t frame = {(uint32_t)(body ? body->size : 0), operation, 0};
   send_all(&frame, sizeof frame, descriptor);
   if (frame.size) send_all(body->data, body->size, -1);
}

static frame_t receive_frame(text_buffer_t *body, int *descriptor) {
   frame_t frame;
   receive_all(&frame, sizeof frame, descriptor);
   *body = (text_buffer_t){.data = malloc(frame.size ? frame.size : 1), .size = frame.size, .capacity = frame.size};
   if (!body->data) _exit(70);
   receive_all(body->data, frame.size, descriptor);
   return frame;
}

knap_status_t control_ask(uint16_t operation, text_buffer_t *body, int send_descriptor, text_buffer_t *answer,
                          int *descriptor) {
   text_buffer_t received;
   pthread_mutex_lock(&lock);
   send_frame(operation, body, send_descriptor);
   frame_t frame = receive_frame(&received, descriptor);
   pthread_mutex_unlock(&lock);
   if (body) free(body->data);
   if (answer) *answer = received;
   else free(received.data);
   return frame.status;
}

void control_tell(uint16_t operation, text_buffer_t *body) {
   pthread_mutex_lock(&lock);
   send_frame(operation, body, -1);
   pthread_mutex_unlock(&lock);
   free(body->data);
}

void control_receive_start(text_buffer_t *body) {
   if (receive_frame(body, NULL).operation != CONTROL_START) _exit(70);
}

void worker_fail(const char *format, ...) {
   char text[1024];
   va_list arguments;
   va_start(arguments, format);
   int size = vsnprintf(text, sizeof text, format, arguments);
   va_end(arguments);
   text_buffer_t body = {0};
   put_text(&body, (knap_text_t){text, (uint64_t)size < sizeof text ? (uint64_t)size : sizeof text - 1});
   control_tell(CONTROL_FAILED, &body);
   _exit(1);
}
