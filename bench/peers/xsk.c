/*
 * The least that a program can do to send by AF_XDP in copy mode: descriptors into the ring, completions out of it, one
 * sendto for each burst of 32, nothing else. No buffers are managed and no XDP program is attached, so what it reaches is
 * what the kernel lets anyone reach here.
 *
 *   xsk INTERFACE SECONDS CPU
 *
 * Prints "measuring" after half a second, and at the end the part of its CPU time that was spent outside the kernel.
 */
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BURST 32
#define RING 2048
#define CHUNK 2048
/* Two bursts' worth, so that the frames stay in the first cache. */
#define FRAMES 64
#define BYTES 60
#define WARM_UP 0.5

static struct xdp_desc *descriptors;
static uint32_t *tx_producer, *tx_consumer, *completed, *taken;
static int fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval t)
{
	return t.tv_sec + t.tv_usec * 1e-6;
}

static void *map(int from, size_t bytes, off_t offset)
{
	int flags = MAP_POPULATE | (from < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, from, offset);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void option(int name, const void *value, socklen_t length)
{
	if (setsockopt(fd, SOL_XDP, name, value, length) < 0)
		die("setsockopt");
}

/* What testpmd's txonly sends, as far as a link sees it: IPv4 and UDP to a MAC that nobody has. */
static void write_frame(uint8_t *at)
{
	static const uint8_t header[] = { 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0x0a, 8, 0, 0x45, 0, 0, BYTES - 14, 0, 0, 0x40, 0, 64, 17 };
	memcpy(at, header, sizeof(header));
}

static void open_socket(const char *interface)
{
	uint8_t *umem = map(-1, FRAMES * CHUNK, 0);
	struct xdp_umem_reg registration = { .addr = (uintptr_t)umem, .len = FRAMES * CHUNK, .chunk_size = CHUNK };
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP };
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);
	int size = RING;

	for (int i = 0; i < FRAMES; i++)
		write_frame(umem + i * CHUNK);
	fd = socket(AF_XDP, SOCK_RAW, 0);
	if (fd < 0)
		die("socket");
	option(XDP_UMEM_REG, &registration, sizeof(registration));
	option(XDP_UMEM_FILL_RING, &size, sizeof(size));
	option(XDP_UMEM_COMPLETION_RING, &size, sizeof(size));
	option(XDP_TX_RING, &size, sizeof(size));
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) < 0)
		die("getsockopt");
	uint8_t *tx = map(fd, offsets.tx.desc + RING * sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
	uint8_t *completion = map(fd, offsets.cr.desc + RING * sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
	descriptors = (struct xdp_desc *)(tx + offsets.tx.desc);
	tx_producer = (uint32_t *)(tx + offsets.tx.producer);
	tx_consumer = (uint32_t *)(tx + offsets.tx.consumer);
	completed = (uint32_t *)(completion + offsets.cr.producer);
	taken = (uint32_t *)(completion + offsets.cr.consumer);
	address.sxdp_ifindex = if_nametoindex(interface);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
}

/* The kernel sends inside the call, so the ring is empty after it, or the rest is tried again. */
static void send_burst(uint32_t *index)
{
	for (int i = 0; i < BURST; i++, (*index)++)
		descriptors[*index % RING] = (struct xdp_desc){ .addr = (*index % FRAMES) * CHUNK, .len = BYTES };
	__atomic_store_n(tx_producer, *index, __ATOMIC_RELEASE);
	do {
		if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS)
			die("sendto");
		__atomic_store_n(taken, __atomic_load_n(completed, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
	} while (__atomic_load_n(tx_consumer, __ATOMIC_ACQUIRE) != *index);
}

static void spin(double seconds, uint32_t *index)
{
	double until = now() + seconds;
	do {
		for (int i = 0; i < 8; i++)
			send_burst(index);
	} while (now() < until);
}

int main(int count, char **words)
{
	cpu_set_t set;
	struct rusage from, to;
	uint32_t index = 0;

	if (count < 4)
		return 1;
	CPU_ZERO(&set);
	CPU_SET(atoi(words[3]), &set);
	sched_setaffinity(0, sizeof(set), &set);
	open_socket(words[1]);
	spin(WARM_UP, &index);
	printf("measuring\n");
	fflush(stdout);
	getrusage(RUSAGE_SELF, &from);
	spin(atof(words[2]), &index);
	getrusage(RUSAGE_SELF, &to);
	double user = seconds_of(to.ru_utime) - seconds_of(from.ru_utime), system = seconds_of(to.ru_stime) - seconds_of(from.ru_stime);
	printf("%f\n", user / (user + system));
	return 0;
}
