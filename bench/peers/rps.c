/*
 * RPS in C on DPDK's headers: takes bursts of 32 packets, finds the 5-tuple in each frame, hashes it with
 * rte_softrss_be, looks its worker up in a table of 128 buckets, groups, and enqueues each worker's share to its ring of
 * 4-byte elements; a consumer drains the rings. The counterpart of bench/ours/rps.ts, over the same frames.
 *
 *   rps one-core SECONDS CPU             one thread distributes and drains
 *   rps two-cores SECONDS CPU OTHER_CPU  another one drains, and gives the packets back through a ring
 *
 * Prints cycles of the time-stamp counter per packet of the distributing thread, of many short slices, as other work on
 * the machine disturbs some of them: the median, and on two cores the best tenth's worst, when both threads had a core.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_pause.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_thash.h>
#include <rte_udp.h>

#define BURST 32
#define ELEMENT 4
#define SLOTS 1024
#define PACKETS 1024
#define WORKERS 4
#define BUCKETS 128
#define FRAME 60
#define TURN 100
#define MOST_SLICES 1000000

/* What a program knows of a packet apart from its bytes: the fields of our mbuf header that this work touches. */
struct header {
	uint32_t flags;
	uint32_t hash;
	uint16_t offset;
	uint16_t length;
	uint32_t owner;
	uint8_t rest[48];
} __rte_cache_aligned;

#define HASHED 2

static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static uint32_t converted[10];
static struct header headers[PACKETS];
static uint8_t (*buffers)[2048];
static uint32_t table[BUCKETS];
static struct rte_ring *rings[WORKERS], *returned;
static uint64_t counts[WORKERS];
static volatile int stop;
static double slices[MOST_SLICES];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static uint32_t next(void)
{
	static uint32_t state = 1;
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static inline void classify(uint32_t packet)
{
	struct header *header = &headers[packet];
	const uint8_t *frame = buffers[packet] + header->offset;
	const struct rte_ether_hdr *ether = (const void *)frame;
	const struct rte_ipv4_hdr *ip = (const void *)(ether + 1);
	uint32_t tuple[3], words = 2;

	if (header->length < sizeof(*ether) + sizeof(*ip) || ether->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		return;
	tuple[0] = rte_be_to_cpu_32(ip->src_addr);
	tuple[1] = rte_be_to_cpu_32(ip->dst_addr);
	const unsigned bytes = rte_ipv4_hdr_len(ip);
	const int ported = ip->next_proto_id == IPPROTO_UDP || ip->next_proto_id == IPPROTO_TCP;
	if (ported && (ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) == 0 && header->length >= sizeof(*ether) + bytes + 4) {
		uint32_t ports;
		memcpy(&ports, (const uint8_t *)ip + bytes, 4);
		tuple[2] = rte_be_to_cpu_32(ports);
		words = 3;
	}
	header->hash = rte_softrss_be(tuple, words, (const uint8_t *)converted);
	header->flags |= HASHED;
}

static unsigned distribute(const uint32_t *burst, unsigned count)
{
	uint32_t vectors[WORKERS][BURST];
	unsigned lengths[WORKERS] = {0}, handed = 0;

	for (unsigned i = 0; i < count; i++) {
		struct header *header = &headers[burst[i]];
		if ((header->flags & HASHED) == 0)
			classify(burst[i]);
		const uint32_t worker = table[header->hash & (BUCKETS - 1)];
		vectors[worker][lengths[worker]++] = burst[i];
	}
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		if (lengths[worker] == 0)
			continue;
		for (unsigned i = 0; i < lengths[worker]; i++)
			headers[vectors[worker][i]].owner = worker;
		const unsigned sent = rte_ring_sp_enqueue_bulk_elem(rings[worker], vectors[worker], ELEMENT, lengths[worker], NULL);
		counts[worker] += sent;
		handed += sent;
	}
	return handed;
}

/* Returns how many; they are in `burst`. */
static unsigned drain(int worker, uint32_t *burst)
{
	const unsigned got = rte_ring_sc_dequeue_burst_elem(rings[worker], burst, ELEMENT, BURST, NULL);
	for (unsigned i = 0; i < got; i++)
		headers[burst[i]].owner = 100 + worker;
	return got;
}

/* As a receive would leave them. */
static inline void receive(const uint32_t *burst, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		headers[burst[i]].flags = 0;
}

static unsigned long one_core(void)
{
	uint32_t burst[BURST];
	unsigned long packets = 0;

	for (uint32_t turn = 0; turn < TURN; turn++) {
		for (uint32_t i = 0; i < BURST; i++)
			burst[i] = (turn * BURST + i) % PACKETS;
		receive(burst, BURST);
		packets += distribute(burst, BURST);
		for (int worker = 0; worker < WORKERS; worker++)
			while (drain(worker, burst) > 0);
	}
	return packets;
}

static unsigned long two_cores(void)
{
	uint32_t burst[BURST];
	unsigned long packets = 0;

	while (packets < TURN * BURST) {
		const unsigned got = rte_ring_sc_dequeue_burst_elem(returned, burst, ELEMENT, BURST, NULL);
		if (got == 0) {
			rte_pause();
			continue;
		}
		receive(burst, got);
		packets += distribute(burst, got);
	}
	return packets;
}

static void *consume(void *cpu)
{
	uint32_t burst[BURST];
	pin(*(int *)cpu);
	while (!stop)
		for (int worker = 0; worker < WORKERS; worker++) {
			const unsigned got = drain(worker, burst);
			if (got > 0)
				rte_ring_sp_enqueue_bulk_elem(returned, burst, ELEMENT, got, NULL);
		}
	return NULL;
}

static struct rte_ring *make_ring(unsigned slots)
{
	struct rte_ring *ring = aligned_alloc(4096, (rte_ring_get_memsize_elem(ELEMENT, slots) + 4095) & ~4095L);
	if (ring == NULL || rte_ring_init(ring, "rps", slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
		exit(1);
	return ring;
}

/* UDP frames of random flows, the same as in bench/ours/rps.ts. */
static void make_packet(uint32_t packet)
{
	uint8_t *frame = buffers[packet] + 256;
	struct rte_ether_hdr *ether = (void *)frame;
	struct rte_ipv4_hdr *ip = (void *)(ether + 1);
	struct rte_udp_hdr *udp = (void *)(ip + 1);

	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = 0x45;
	ip->next_proto_id = IPPROTO_UDP;
	ip->src_addr = rte_cpu_to_be_32(next());
	ip->dst_addr = rte_cpu_to_be_32(next());
	const uint32_t ports = rte_cpu_to_be_32(next());
	memcpy(udp, &ports, 4);
	headers[packet] = (struct header){ .offset = 256, .length = FRAME };
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Cycles per packet. The first eighth is warm-up. */
static double measure(unsigned long (*slice)(void), double seconds, double part)
{
	int count = 0;
	for (const double until = now() + seconds; now() < until && count < MOST_SLICES;) {
		const uint64_t start = rte_rdtsc();
		const unsigned long packets = slice();
		slices[count++] = (double)(rte_rdtsc() - start) / packets;
	}
	const int from = count / 8;
	qsort(slices + from, count - from, sizeof(slices[0]), ascending);
	return slices[from + (int)((count - from) * part)];
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	const int two = strcmp(words[1], "two-cores") == 0;
	const double seconds = atof(words[2]);
	int other = count > 4 ? atoi(words[4]) : 0;
	pthread_t consumer;

	pin(atoi(words[3]));
	rte_convert_rss_key((const uint32_t *)key, converted, sizeof(key));
	buffers = aligned_alloc(4096, sizeof(*buffers) * PACKETS);
	memset(buffers, 0, sizeof(*buffers) * PACKETS);
	for (int worker = 0; worker < WORKERS; worker++)
		rings[worker] = make_ring(SLOTS);
	returned = make_ring(2 * PACKETS);
	for (int bucket = 0; bucket < BUCKETS; bucket++)
		table[bucket] = bucket % WORKERS;
	for (uint32_t packet = 0; packet < PACKETS; packet++) {
		make_packet(packet);
		if (two)
			rte_ring_sp_enqueue_elem(returned, &packet, ELEMENT);
	}
	if (two && pthread_create(&consumer, NULL, consume, &other) != 0)
		return 1;

	const double cycles = measure(two ? two_cores : one_core, seconds, two ? 0.1 : 0.5);
	stop = 1;
	if (two)
		pthread_join(consumer, NULL);
	const double packets = counts[0] + counts[1] + counts[2] + counts[3];
	printf("{\"cycles\": %.2f, \"shares\": [%.4f, %.4f, %.4f, %.4f]}\n", cycles,
		counts[0] / packets, counts[1] / packets, counts[2] / packets, counts[3] / packets);
	return 0;
}
