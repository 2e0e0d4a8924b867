/*
 * DPDK's Toeplitz hashes of IPv4 5-tuples (12 bytes: two addresses, two ports): cycles of the time-stamp counter per
 * burst of 32.
 *
 *   toeplitz softrss|gfni SECONDS CPU
 *
 * The tuples are those of bench/ours/toeplitz.ts: the same generator, and the exclusive-or of all hashes is printed, so
 * that a reader can see that both did the same work. rte_softrss_be wants its words in the CPU's order: they are put so
 * before the clock starts.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_thash.h>

#define BURST 32
#define BURSTS 32
#define WORDS 3
#define ROUNDS 10
#define MOST_SLICES 4000000

static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static uint32_t converted[10];
static uint32_t tuples[BURSTS * BURST][WORDS];
static uint32_t hashes[BURSTS * BURST];
static double slices[MOST_SLICES];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static uint32_t next(void)
{
	static uint32_t state = 1;
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void softrss(void)
{
	for (int i = 0; i < BURSTS * BURST; i++)
		hashes[i] = rte_softrss_be(tuples[i], WORDS, (const uint8_t *)converted);
}

#if defined(__GFNI__) && defined(__AVX512F__)
static uint64_t matrices[40];
static uint8_t bytes[BURSTS * BURST][WORDS * 4];

static void gfni(void)
{
	uint8_t *pointers[BURST];
	for (int burst = 0; burst < BURSTS; burst++) {
		for (int i = 0; i < BURST; i++)
			pointers[i] = bytes[burst * BURST + i];
		rte_thash_gfni_bulk(matrices, WORDS * 4, pointers, hashes + burst * BURST, BURST);
	}
}

static void prepare_gfni(void)
{
	rte_thash_complete_matrix(matrices, key, sizeof(key));
	for (int i = 0; i < BURSTS * BURST; i++)
		for (int word = 0; word < WORDS; word++) {
			const uint32_t big = rte_cpu_to_be_32(tuples[i][word]);
			memcpy(bytes[i] + word * 4, &big, 4);
		}
}
#else
static void gfni(void) { exit(3); }
static void prepare_gfni(void) { exit(3); }
#endif

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double measure(void (*hash)(void), double seconds)
{
	int count = 0;
	for (const double until = now() + seconds; now() < until && count < MOST_SLICES;) {
		const uint64_t start = rte_rdtsc();
		for (int round = 0; round < ROUNDS; round++) {
			hash();
			asm volatile("" ::: "memory");
		}
		slices[count++] = (double)(rte_rdtsc() - start) / ROUNDS / BURSTS;
	}
	const int from = count / 8; /* warm-up */
	qsort(slices + from, count - from, sizeof(slices[0]), ascending);
	return slices[from + (count - from) / 2];
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(atoi(words[3]), &set);
	sched_setaffinity(0, sizeof(set), &set);

	rte_convert_rss_key((const uint32_t *)key, converted, sizeof(key));
	for (int i = 0; i < BURSTS * BURST; i++)
		for (int word = 0; word < WORDS; word++)
			tuples[i][word] = next();
	const int with_gfni = strcmp(words[1], "gfni") == 0;
	if (with_gfni)
		prepare_gfni();
	const double cycles = measure(with_gfni ? gfni : softrss, atof(words[2]));
	uint32_t all = 0;
	for (int i = 0; i < BURSTS * BURST; i++)
		all ^= hashes[i];
	printf("{\"cycles\": %.2f, \"check\": %u}\n", cycles, all);
	return 0;
}
