/* cores.c - how far apart the first two CPUs are that this process may run on: prints
 *
 *     cores: 53 ns from one to the other, 106 GB/s of what the other one has written
 *
 * the time until one core sees what another has written, and the speed at which it reads 1 MiB that the other one has just
 * written (each line counts as 64 bytes). On one chip with a common cache these are some 50 ns and 100 GB/s, across chips some
 * 200 ns and 40 GB/s; a virtual machine may be moved from the one to the other while it runs. `make bench` builds and runs it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 100000, READS = 50, BYTES = 1 << 20, LINE = 64 };

static _Alignas(128) atomic_int turn; /* odd: the second core's */
static char *memory;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Stays on the given CPU of those that the process started with. */
static int stay_on(const cpu_set_t *allowed, int which) {
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, allowed) || which-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one);
  }
  return -1;
}

static void wait_for(int value) {
  while (atomic_load(&turn) != value) {
  }
}

static void *second(void *allowed) {
  stay_on(allowed, 1);
  for (int i = 0; i < ROUNDS; i++) {
    wait_for(2 * i + 1);
    atomic_store(&turn, 2 * i + 2);
  }
  for (int i = ROUNDS; i < ROUNDS + READS; i++) {
    wait_for(2 * i + 1);
    volatile uint64_t sink;
    uint64_t sum = 0;
    for (size_t at = 0; at < BYTES; at += LINE) sum += *(const uint64_t *)(const void *)(memory + at);
    sink = sum;
    (void)sink;
    atomic_store(&turn, 2 * i + 2);
  }
  return NULL;
}

int main(void) {
  cpu_set_t allowed;
  pthread_t other;
  memory = aligned_alloc(4096, BYTES);
  if (memory == NULL || sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2 ||
      stay_on(&allowed, 0) != 0 || pthread_create(&other, NULL, second, &allowed) != 0) {
    puts("cores: one");
    return 0;
  }
  double began = seconds();
  for (int i = 0; i < ROUNDS; i++) {
    atomic_store(&turn, 2 * i + 1);
    wait_for(2 * i + 2);
  }
  const double way = (seconds() - began) / (2 * ROUNDS);
  double reading = 0;
  for (int i = ROUNDS; i < ROUNDS + READS; i++) {
    memset(memory, i, BYTES);
    began = seconds();
    atomic_store(&turn, 2 * i + 1);
    wait_for(2 * i + 2);
    reading += seconds() - began;
  }
  pthread_join(other, NULL);
  printf("cores: %.0f ns from one to the other, %.0f GB/s of what the other one has written\n", way * 1e9,
         READS * (double)BYTES / reading * 1e-9);
  return 0;
}
