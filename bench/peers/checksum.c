/*
 * DPDK's Internet checksum: cycles of the time-stamp counter for one rte_raw_cksum of 1500 bytes, over bursts of 32
 * packets that lie in buffers of 2048 bytes as our mbufs do, 256 + 14 bytes into each.
 *
 *   checksum BYTES SECONDS CPU
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_ip.h>

#define BURST 32
#define BUFFER 2048
#define OFFSET 270
#define ROUNDS 20
#define MOST_SLICES 1000000

static uint8_t buffers[BURST * BUFFER] __attribute__((aligned(4096)));
static uint32_t sums[BURST];
static double slices[MOST_SLICES];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	const size_t length = atoi(words[1]);
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(atoi(words[3]), &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (int i = 0; i < BURST * BUFFER; i++)
		buffers[i] = i * 37 + (i >> 8) * 11;

	int taken = 0;
	for (const double until = now() + atof(words[2]); now() < until && taken < MOST_SLICES;) {
		const uint64_t start = rte_rdtsc();
		for (int round = 0; round < ROUNDS; round++) {
			for (int i = 0; i < BURST; i++)
				sums[i] = rte_raw_cksum(buffers + i * BUFFER + OFFSET, length);
			asm volatile("" ::: "memory");
		}
		slices[taken++] = (double)(rte_rdtsc() - start) / ROUNDS / BURST;
	}
	const int from = taken / 8; /* warm-up */
	qsort(slices + from, taken - from, sizeof(slices[0]), ascending);
	uint32_t check = 0;
	for (int i = 0; i < BURST; i++)
		check = check * 31 + ((sums[i] & 0xff) << 8 | sums[i] >> 8); /* in network order */
	printf("{\"cycles\": %.2f, \"check\": %u}\n", slices[from + (taken - from) / 2], check);
	return 0;
}
