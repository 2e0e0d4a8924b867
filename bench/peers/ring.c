/*
 * DPDK's ring with 4-byte elements, as ours has: cycles of the time-stamp counter per bulk of 32 that went in and out.
 *
 *   ring sp-sc|mp-mc SECONDS CPU          one thread, enqueue then dequeue
 *   ring two-cores SECONDS CPU OTHER_CPU [NANOSECONDS]  one enqueues, the other dequeues and counts; after a call that
 *                                         moved nothing, a side leaves the ring alone for so long (0: one rte_pause)
 *
 * Prints the median of many short slices, as other work on the machine disturbs some of them.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_pause.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#define BULK 32
#define ELEMENT 4
#define SLOTS 4096
#define SLICE 4000
#define MOST_SLICES 4000000

static struct rte_ring *ring;
static volatile int stop;
static double slices[MOST_SLICES];

static uint64_t rest_cycles;

/* The elements come from somewhere and go somewhere: without this gcc would store a constant and read nothing back. */
static inline void touch(uint32_t *bulk)
{
	__asm__ volatile("" : : "r"(bulk) : "memory");
}

static void rest(void)
{
	const uint64_t start = rte_rdtsc();
	do
		rte_pause();
	while (rte_rdtsc() - start < rest_cycles);
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void sp_sc(void)
{
	uint32_t bulk[BULK] = {0};
	for (int i = 0; i < SLICE; i++) {
		touch(bulk);
		rte_ring_sp_enqueue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL);
		rte_ring_sc_dequeue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL);
		touch(bulk);
	}
}

static void mp_mc(void)
{
	uint32_t bulk[BULK] = {0};
	for (int i = 0; i < SLICE; i++) {
		touch(bulk);
		rte_ring_mp_enqueue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL);
		rte_ring_mc_dequeue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL);
		touch(bulk);
	}
}

static void consume(void)
{
	uint32_t bulk[BULK];
	for (int got = 0; got < SLICE;) {
		if (rte_ring_sc_dequeue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL) > 0) {
			touch(bulk);
			got++;
		} else {
			rest();
		}
	}
}

static void *produce(void *cpu)
{
	uint32_t bulk[BULK] = {0};
	pin(*(int *)cpu);
	while (!stop) {
		touch(bulk);
		if (rte_ring_sp_enqueue_bulk_elem(ring, bulk, ELEMENT, BULK, NULL) == 0)
			rest();
	}
	return NULL;
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The first eighth is warm-up. */
static double median(int count)
{
	const int from = count / 8;
	qsort(slices + from, count - from, sizeof(slices[0]), ascending);
	return slices[from + (count - from) / 2];
}

static double measure(void (*slice)(void), double seconds)
{
	int count = 0;
	for (const double until = now() + seconds; now() < until && count < MOST_SLICES;) {
		const uint64_t start = rte_rdtsc();
		slice();
		slices[count++] = (double)(rte_rdtsc() - start) / SLICE;
	}
	return median(count);
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	const int two = strcmp(words[1], "two-cores") == 0;
	const int multi = strcmp(words[1], "mp-mc") == 0;
	const double seconds = atof(words[2]);
	int other = count > 4 ? atoi(words[4]) : 0;
	pthread_t producer;

	if (count > 5) {
		const double start = now();
		const uint64_t from = rte_rdtsc();
		while (now() - start < 0.02)
			;
		rest_cycles = (rte_rdtsc() - from) / (now() - start) * atof(words[5]) / 1e9;
	}

	pin(atoi(words[3]));
	ring = aligned_alloc(RTE_CACHE_LINE_SIZE * 2, (rte_ring_get_memsize_elem(ELEMENT, SLOTS) + 4095) & ~4095L);
	if (ring == NULL || rte_ring_init(ring, "bench", SLOTS, multi ? 0 : RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
		return 1;
	if (two && pthread_create(&producer, NULL, produce, &other) != 0)
		return 1;
	printf("%.2f\n", measure(two ? consume : multi ? mp_mc : sp_sc, seconds));
	stop = 1;
	if (two)
		pthread_join(producer, NULL);
	return 0;
}
