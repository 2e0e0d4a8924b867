/*
 * DPDK's lookups, as bench/ours/lookup.ts has ours: cycles of the time-stamp counter per operation, the median of slices,
 * and a check value that must be the same on both sides.
 *
 *   lookup lpm-lookup|lpm-add|hash-lookup|hash-add|acl|l3fwd|l3fwd-few SECONDS CPU FILE
 *
 * The routes and rules come from FILE, see bench/ours/lookup_data.ts. For the look-ups the million routes are written
 * into rte_lpm's two tables as rte_lpm_add leaves them, shorter ones first, since adding them takes it three minutes: its
 * time for an add grows with the number of routes. What an add costs is measured with an eighth of them.
 */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_lpm.h>
#include <rte_mbuf.h>

#define BURST 32
#define BATCH 4096
#define ADD_SHARE 8
#define KEYS 393216
#define CAPACITY 524288
#define NEXT_HOPS 256
#define MOST_SLICES 1000000

static double slices[MOST_SLICES];
static uint32_t *words;
static double seconds;
static uint32_t state;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static uint32_t next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double (*slice)(void), int least)
{
	int count = 0;
	for (const double until = now() + seconds; (now() < until || count < least) && count < MOST_SLICES;)
		slices[count++] = slice();
	const int from = count / 8;
	qsort(slices + from, count - from, sizeof(slices[0]), ascending);
	return slices[from + (count - from) / 2];
}

static void print(double cycles, uint32_t check)
{
	printf("{\"cycles\": %.2f, \"check\": %u}\n", cycles, check);
}

static void *need(void *what, const char *name)
{
	if (what == NULL) {
		fprintf(stderr, "%s\n", name);
		exit(1);
	}
	return what;
}

static void read_file(const char *path)
{
	FILE *file = need(fopen(path, "rb"), path);
	fseek(file, 0, SEEK_END);
	const long bytes = ftell(file);
	rewind(file);
	words = need(malloc(bytes), "malloc");
	if (fread(words, 1, bytes, file) != (size_t)bytes)
		exit(1);
	fclose(file);
}

/* Longest-prefix match */

static struct rte_lpm *lpm;
static uint32_t addresses[BATCH];
static uint32_t groups;

static struct rte_lpm *make_lpm(const char *name)
{
	struct rte_lpm_config config = { .max_rules = 2000000, .number_tbl8s = 2048 };
	return need(rte_lpm_create(name, SOCKET_ID_ANY, &config), "rte_lpm_create");
}

static void write_entries(struct rte_lpm_tbl_entry *table, uint32_t from, uint32_t count, struct rte_lpm_tbl_entry entry)
{
	for (uint32_t i = from; i < from + count; i++)
		table[i] = entry;
}

static void write_route(uint32_t prefix, uint32_t depth, uint32_t hop)
{
	struct rte_lpm_tbl_entry entry = { .next_hop = hop, .valid = 1, .valid_group = 0, .depth = depth };
	struct rte_lpm_tbl_entry *first = &lpm->tbl24[prefix >> 8];
	if (depth <= 24) {
		write_entries(lpm->tbl24, prefix >> 8, 1u << (24 - depth), entry);
		return;
	}
	if (!first->valid_group) {
		struct rte_lpm_tbl_entry inherited = *first;
		inherited.valid_group = 1;
		write_entries(lpm->tbl8, groups * 256, 256, inherited);
		first->next_hop = groups++;
		first->valid = 1;
		first->valid_group = 1;
		first->depth = 0;
	}
	entry.valid_group = 1;
	write_entries(lpm->tbl8, first->next_hop * 256 + (prefix & 0xff), 1u << (32 - depth), entry);
}

static void fill_lpm(void)
{
	lpm = make_lpm("routes");
	for (uint32_t depth = 1; depth <= 32; depth++)
		for (uint32_t i = 0; i < words[0]; i++)
			if (words[2 + i * 3] == depth)
				write_route(words[1 + i * 3], depth, words[3 + i * 3]);
}

static uint32_t lpm_check;
static int batches;

static double lpm_slice(void)
{
	uint32_t hops[BURST];
	for (int i = 0; i < BATCH; i++)
		addresses[i] = next();
	const uint64_t start = rte_rdtsc();
	for (int i = 0; i < BATCH; i += BURST) {
		rte_lpm_lookup_bulk(lpm, addresses + i, hops, BURST);
		asm volatile("" ::: "memory");
	}
	const double took = (double)(rte_rdtsc() - start) / BATCH;
	if (batches++ < 8)
		for (int i = 0; i < BATCH; i += BURST) {
			rte_lpm_lookup_bulk(lpm, addresses + i, hops, BURST);
			for (int k = 0; k < BURST; k++)
				lpm_check = lpm_check * 31 + (hops[k] & RTE_LPM_LOOKUP_SUCCESS ? hops[k] & 0xffffff : 0xffffffff);
		}
	return took;
}

static void lpm_lookup(void)
{
	fill_lpm();
	state = 1;
	const double cycles = median(lpm_slice, 8);
	print(cycles, lpm_check);
}

static void lpm_add(void)
{
	struct rte_lpm *table = make_lpm("adds");
	uint32_t routes = 0;
	const uint64_t start = rte_rdtsc();
	for (uint32_t i = 0; i < words[0]; i += ADD_SHARE, routes++)
		if (rte_lpm_add(table, words[1 + i * 3], words[2 + i * 3], words[3 + i * 3]) != 0)
			exit(1);
	print((double)(rte_rdtsc() - start) / routes, 0);
}

/* Exact match */

static uint32_t (*keys)[4], (*shuffled)[4];
static struct rte_hash *hash;
static uint32_t hits;

static void make_keys(void)
{
	keys = need(malloc(KEYS * 16), "malloc");
	shuffled = need(malloc(KEYS * 16), "malloc");
	state = 1;
	for (int i = 0; i < KEYS; i++)
		for (int word = 0; word < 4; word++)
			keys[i][word] = next();
	memcpy(shuffled, keys, KEYS * 16);
	for (uint32_t i = KEYS - 1; i > 0; i--) {
		uint32_t kept[4];
		const uint32_t other = next() % (i + 1);
		memcpy(kept, shuffled[i], 16);
		memcpy(shuffled[i], shuffled[other], 16);
		memcpy(shuffled[other], kept, 16);
	}
}

/* Its keys' positions are what it answers with, as in hash_perf_autotest. No locks: the quickest that it has. */
static double hash_add_slice(void)
{
	const struct rte_hash_parameters parameters = { .name = "keys", .entries = CAPACITY, .key_len = 16, .hash_func = rte_hash_crc, .socket_id = SOCKET_ID_ANY };
	rte_hash_free(hash);
	hash = need(rte_hash_create(&parameters), "rte_hash_create");
	const uint64_t start = rte_rdtsc();
	for (int i = 0; i < KEYS; i++)
		if (rte_hash_add_key(hash, keys[i]) < 0)
			exit(1);
	return (double)(rte_rdtsc() - start) / KEYS;
}

static double hash_lookup_slice(void)
{
	const void *pointers[BURST];
	int32_t positions[BURST];
	hits = 0;
	const uint64_t start = rte_rdtsc();
	for (int i = 0; i < KEYS; i += BURST) {
		for (int k = 0; k < BURST; k++)
			pointers[k] = shuffled[i + k];
		rte_hash_lookup_bulk(hash, pointers, BURST, positions);
		for (int k = 0; k < BURST; k++)
			hits += positions[k] >= 0;
	}
	return (double)(rte_rdtsc() - start) / KEYS;
}

static void hash_add(void)
{
	make_keys();
	print(median(hash_add_slice, 9), KEYS);
}

static void hash_lookup(void)
{
	make_keys();
	hash_add_slice();
	const double cycles = median(hash_lookup_slice, 8);
	print(cycles, hits);
}

/* Access control list: source, destination, ports, protocol, as l3fwd-acl has its fields */

enum { SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, PROTOCOL, FIELDS };
struct packet {
	uint8_t protocol;
	uint8_t rest[3];
	uint32_t source, destination;
	uint16_t source_port, destination_port;
};
static const struct rte_acl_field_def fields[FIELDS] = {
	{ .type = RTE_ACL_FIELD_TYPE_BITMASK, .size = 1, .field_index = 0, .input_index = 0, .offset = offsetof(struct packet, protocol) },
	{ .type = RTE_ACL_FIELD_TYPE_MASK, .size = 4, .field_index = 1, .input_index = 1, .offset = offsetof(struct packet, source) },
	{ .type = RTE_ACL_FIELD_TYPE_MASK, .size = 4, .field_index = 2, .input_index = 2, .offset = offsetof(struct packet, destination) },
	{ .type = RTE_ACL_FIELD_TYPE_RANGE, .size = 2, .field_index = 3, .input_index = 3, .offset = offsetof(struct packet, source_port) },
	{ .type = RTE_ACL_FIELD_TYPE_RANGE, .size = 2, .field_index = 4, .input_index = 3, .offset = offsetof(struct packet, destination_port) },
};
RTE_ACL_RULE_DEF(five_fields, FIELDS);
static struct rte_acl_ctx *acl_context;
static struct packet *packets;
static uint32_t packet_count;

static double acl_slice(void)
{
	const uint8_t *data[BURST];
	uint32_t results[BURST];
	const uint64_t start = rte_rdtsc();
	for (uint32_t i = 0; i < packet_count; i += BURST) {
		for (int k = 0; k < BURST; k++)
			data[k] = (const uint8_t *)(packets + i + k);
		rte_acl_classify(acl_context, data, results, BURST, 1);
	}
	return (double)(rte_rdtsc() - start) / packet_count;
}

static void add_rule(const uint32_t *rule, uint32_t number, uint32_t count)
{
	struct five_fields acl_rule = { .data = { .category_mask = 1, .priority = count - number, .userdata = number + 1 } };
	acl_rule.field[0].value.u8 = rule[8];
	acl_rule.field[0].mask_range.u8 = rule[9];
	acl_rule.field[1].value.u32 = rule[0];
	acl_rule.field[1].mask_range.u32 = rule[1];
	acl_rule.field[2].value.u32 = rule[2];
	acl_rule.field[2].mask_range.u32 = rule[3];
	acl_rule.field[3].value.u16 = rule[4];
	acl_rule.field[3].mask_range.u16 = rule[5];
	acl_rule.field[4].value.u16 = rule[6];
	acl_rule.field[4].mask_range.u16 = rule[7];
	if (rte_acl_add_rules(acl_context, (const struct rte_acl_rule *)&acl_rule, 1) != 0)
		exit(1);
}

static void acl(void)
{
	const uint32_t count = words[0];
	const struct rte_acl_param parameters = { .name = "acl", .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(FIELDS), .max_rule_num = count };
	struct rte_acl_config config = { .num_categories = 1, .num_fields = FIELDS };
	uint32_t check = 0;

	memcpy(config.defs, fields, sizeof(fields));
	acl_context = need(rte_acl_create(&parameters), "rte_acl_create");
	for (uint32_t i = 0; i < count; i++)
		add_rule(words + 1 + i * 10, i, count);
	if (rte_acl_build(acl_context, &config) != 0)
		exit(1);
	packet_count = words[1 + count * 10];
	packets = need(calloc(packet_count, sizeof(*packets)), "calloc");
	for (uint32_t i = 0; i < packet_count; i++) {
		const uint32_t *tuple = words + 2 + count * 10 + i * 4;
		packets[i].source = rte_cpu_to_be_32(tuple[0]);
		packets[i].destination = rte_cpu_to_be_32(tuple[1]);
		packets[i].source_port = rte_cpu_to_be_16(tuple[2]);
		packets[i].destination_port = rte_cpu_to_be_16(tuple[2] >> 16);
		packets[i].protocol = tuple[3];
	}
	const double cycles = median(acl_slice, 8);
	for (uint32_t i = 0; i < packet_count; i++) {
		const uint8_t *data = (const uint8_t *)(packets + i);
		uint32_t result;
		rte_acl_classify(acl_context, &data, &result, 1, 1);
		check = check * 31 + result;
	}
	print(cycles, check);
}

/* Layer 3 forwarding */

#define PACKETS 65536
#define FEW_PACKETS 4096

static struct rte_mbuf *frames[PACKETS];
static uint32_t destinations[PACKETS];
static int frame_count;
static uint32_t macs[NEXT_HOPS * 3];
static uint32_t dropped;

static void write_frame(uint8_t *at, uint32_t to)
{
	const uint8_t bytes[] = { 0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, to >> 24, to >> 16, to >> 8, to, 4, 0, 0, 53, 0, 26 };
	memset(at, 0, 60);
	memcpy(at + 12, bytes, sizeof(bytes));
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(at + 14);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void restore(void)
{
	dropped = 0;
	for (int i = 0; i < frame_count; i++)
		write_frame(rte_pktmbuf_mtod(frames[i], uint8_t *), destinations[i]);
}

static uint32_t route(struct rte_mbuf **burst)
{
	uint32_t wanted[BURST], hops[BURST], good = 0, drops = 0;
	for (int i = 0; i < BURST; i++) {
		const uint8_t *at = rte_pktmbuf_mtod(burst[i], const uint8_t *);
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(at + 14);
		wanted[i] = rte_be_to_cpu_32(ip->dst_addr);
		if (((const struct rte_ether_hdr *)at)->ether_type == rte_cpu_to_be_16(0x0800) && ip->version_ihl == 0x45 && ip->time_to_live > 1)
			good |= 1u << i;
	}
	rte_lpm_lookup_bulk(lpm, wanted, hops, BURST);
	for (int i = 0; i < BURST; i++) {
		if (!(hops[i] & RTE_LPM_LOOKUP_SUCCESS) || !(good & (1u << i))) {
			drops++;
			continue;
		}
		uint8_t *at = rte_pktmbuf_mtod(burst[i], uint8_t *);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(at + 14);
		memcpy(at, macs + (hops[i] & 0xffffff) * 3, 12);
		ip->time_to_live--;
		const uint32_t sum = ip->hdr_checksum + 1;
		ip->hdr_checksum = sum + (sum >= 0xffff);
	}
	return drops;
}

static double l3fwd_slice(void)
{
	restore();
	const uint64_t start = rte_rdtsc();
	for (int round = 0; round < 16; round++)
		for (int i = 0; i < frame_count; i += BURST) {
			struct rte_mbuf *burst[BURST];
			memcpy(burst, frames + i, sizeof(burst));
			dropped += route(burst);
		}
	return (double)(rte_rdtsc() - start) / 16 / frame_count;
}

static void forward(int count)
{
	frame_count = count;
	struct rte_mempool *pool = need(rte_pktmbuf_pool_create("pool", count, 0, 0, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY), "rte_pktmbuf_pool_create");
	fill_lpm();
	state = 3;
	for (int i = 0; i < frame_count; i++) {
		frames[i] = need(rte_pktmbuf_alloc(pool), "rte_pktmbuf_alloc");
		rte_pktmbuf_append(frames[i], 60);
		destinations[i] = next();
	}
	for (uint32_t word = 0; word < NEXT_HOPS * 3; word++)
		macs[word] = (word + 1) * 0x9e3779b1u;
	const double cycles = median(l3fwd_slice, 8);
	uint32_t check = dropped;
	for (int i = 0; i < frame_count; i++)
		for (int word = 0; word < 8; word++)
			check = check * 31 + rte_pktmbuf_mtod(frames[i], uint32_t *)[word];
	print(cycles, check);
}

static void l3fwd(void)
{
	forward(PACKETS);
}

static void l3fwd_few(void)
{
	forward(FEW_PACKETS);
}

int main(int count, char **arguments)
{
	static const struct { const char *name; void (*run)(void); } runs[] = {
		{ "lpm-lookup", lpm_lookup }, { "lpm-add", lpm_add }, { "hash-lookup", hash_lookup }, { "hash-add", hash_add }, { "acl", acl }, { "l3fwd", l3fwd },
		{ "l3fwd-few", l3fwd_few },
	};
	if (count < 5)
		return 2;
	char lcores[16];
	snprintf(lcores, sizeof(lcores), "0@%d", atoi(arguments[3]));
	char *eal[] = { arguments[0], "--lcores", lcores, "--in-memory", "--no-pci", "--no-telemetry", "--log-level=4" };
	if (rte_eal_init(RTE_DIM(eal), eal) < 0)
		return 1;
	seconds = atof(arguments[2]);
	read_file(arguments[4]);
	for (size_t i = 0; i < RTE_DIM(runs); i++)
		if (strcmp(runs[i].name, arguments[1]) == 0)
			runs[i].run();
	return 0;
}
