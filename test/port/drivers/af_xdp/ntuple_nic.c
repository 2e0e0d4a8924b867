/*
 * A NIC that takes n-tuple rules, for one interface that has none: preloaded, it answers the ioctls of linux/ethtool.h
 * that are about them, for this process and for the ethtool program alike, and passes all others on. Its rules and the
 * feature's switch are in a file, so that they stay when a process dies, as a driver's do. It carries out nothing.
 *
 * NTUPLE_LINK: the interface. NTUPLE_FILE: the rules. NTUPLE_SIZE: places. NTUPLE_BIT: number of rx-ntuple-filter.
 * NTUPLE_CHOOSES=1: the driver chooses the place, and refuses another's choice (RX_CLS_LOC_ANY).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 64

struct nic {
	unsigned int on;
	unsigned int used[MOST];
	struct ethtool_rx_flow_spec rules[MOST];
};

static int refuse(int error)
{
	errno = error;
	return -1;
}

static unsigned int number(const char *name)
{
	return getenv(name) ? (unsigned int)atoi(getenv(name)) : 0;
}

/* Kernel: ethtool_rxnfc, and drivers' get_rxnfc and set_rxnfc. Returns 1 for what is not its affair. */
static int rxnfc(struct nic *nic, struct ethtool_rxnfc *command)
{
	unsigned int size = number("NTUPLE_SIZE"), chooses = number("NTUPLE_CHOOSES"), place = command->fs.location, count = 0;

	for (unsigned int i = 0; i < size; i++)
		count += nic->used[i];
	switch (command->cmd) {
	case ETHTOOL_GRXRINGS:
		command->data = 2;
		return 0;
	case ETHTOOL_GRXCLSRLCNT:
		command->rule_cnt = count;
		command->data = chooses ? size | RX_CLS_LOC_SPECIAL : 0;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		if (command->rule_cnt < count)
			return refuse(EMSGSIZE);
		command->data = size;
		command->rule_cnt = 0;
		for (unsigned int i = 0; i < size; i++)
			if (nic->used[i])
				command->rule_locs[command->rule_cnt++] = i;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		if (place >= size || !nic->used[place])
			return refuse(ENOENT);
		command->fs = nic->rules[place];
		return 0;
	case ETHTOOL_SRXCLSRLDEL:
		if (place >= size || !nic->used[place])
			return refuse(ENOENT);
		nic->used[place] = 0;
		return 0;
	case ETHTOOL_SRXCLSRLINS:
		if (!nic->on)
			return refuse(EOPNOTSUPP);
		if (chooses != (place == RX_CLS_LOC_ANY))
			return refuse(EINVAL);
		if (chooses)
			for (place = 0; place < size && nic->used[place]; place++)
				;
		if (place >= size)
			return refuse(ENOSPC);
		nic->used[place] = 1;
		nic->rules[place] = command->fs;
		command->fs.location = nic->rules[place].location = place;
		return 0;
	}
	return 1;
}

/* All flows to queue 0, and no key. */
static int rss(struct ethtool_rxfh *table)
{
	if (table->indir_size != 0)
		memset(table->rss_config, 0, 4 * sizeof(table->rss_config[0]));
	table->indir_size = 4;
	table->key_size = 0;
	table->hfunc = 1;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	const char *file = getenv("NTUPLE_FILE"), *link = getenv("NTUPLE_LINK");
	unsigned int bit = number("NTUPLE_BIT");
	struct nic nic = { 0 };
	struct ifreq *ifr;
	va_list list;
	void *argument;
	int result, state;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (!next)
		next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	ifr = argument;
	if (request != SIOCETHTOOL || !file || !link || strcmp(ifr->ifr_name, link) != 0)
		return next(fd, request, argument);
	state = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (pread(state, &nic, sizeof nic, 0) < 0)
		abort();
	switch (*(unsigned int *)ifr->ifr_data) {
	case ETHTOOL_GFEATURES: {
		struct ethtool_gfeatures *features = (void *)ifr->ifr_data;

		result = next(fd, request, argument);
		if (result == 0 && bit / 32 < features->size) {
			features->features[bit / 32].available |= 1u << bit % 32;
			if (nic.on)
				features->features[bit / 32].active |= 1u << bit % 32;
		}
		break;
	}
	case ETHTOOL_SFEATURES: {
		struct ethtool_sfeatures *wanted = (void *)ifr->ifr_data;

		if (bit / 32 < wanted->size && wanted->features[bit / 32].valid & 1u << bit % 32) {
			nic.on = wanted->features[bit / 32].requested >> bit % 32 & 1;
			result = 0;
		} else
			result = next(fd, request, argument);
		break;
	}
	case ETHTOOL_GRSSH:
		result = rss((void *)ifr->ifr_data);
		break;
	default:
		result = rxnfc(&nic, (void *)ifr->ifr_data);
		if (result > 0)
			result = next(fd, request, argument);
	}
	if (pwrite(state, &nic, sizeof nic, 0) < 0)
		abort();
	close(state);
	return result;
}
