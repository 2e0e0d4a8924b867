import fc from 'fast-check';
import t from 'tap';
import { parseCpuList } from '../../lib/doctor/checks/processors.js';
import { examine } from '../../lib/doctor/report.js';
import { PollmodeError } from '../../lib/errors.js';
import type { XdpFeatures } from '../../lib/kernel/features.js';
import type { Link } from '../../lib/kernel/link.js';
import type { PortDriver } from '../../lib/port/port.js';
import { linesOf, machine, statusFile, tree } from './machine_helper.js';
import { departures, REPORT } from './schema_helper.js';

const link = (change: Partial<Link>): Link => ({
  ifindex: 2, name: 'eth0', mtu: 1500, operstate: 'up', flags: 0x1003, up: true, mac: '02:00:00:00:00:01', kind: '', rxQueues: 8, txQueues: 8,
  xdp: { where: 'none', programId: 0 }, ...change,
});
const features = (change: Partial<XdpFeatures>): XdpFeatures => ({ ifindex: 2, xdp: [], rxMetadata: [], xsk: [], zeroCopyMaxSegments: 0, ...change });

t.test('a machine with nothing to read: no check throws, and each line that is not well says why and what to do', async (t) => {
  const machines = [
    machine(tree(t, {})), machine(tree(t, {}), { network: undefined, addon: { binding: new PollmodeError('EADDON', 'No addon: build it.'), path: undefined } }),
    machine(tree(t, {}), { release: '3.10.0-1160' }), machine(tree(t, {}), { release: 'strange', node: '18.0.0', loadBurst: () => { throw new PollmodeError('ENOTFOUND', 'No module: build it.'); } }),
    machine(tree(t, {}), { platform: 'darwin', release: '24.0' }),
  ];
  for (const each of machines) {
    const report = examine(each);
    t.same(departures(report, REPORT), []);
    for (const line of report.lines) {
      if (line.status === 'warn' || line.status === 'missing') t.ok((line.reason ?? '') !== '' && (line.mend ?? '') !== '', `${line.what}: ${line.value}`);
      else t.notOk(line.mend, `${line.what} is well and wants no mend`);
      t.notMatch(line.reason ?? '', /report this/i, line.what);
    }
  }
});

t.test('a check that throws is a line, and the others are there', async (t) => {
  const lines = linesOf(machine(tree(t, {}), { journals: () => { throw new Error('broken'); } }));
  t.match(lines.get('journal'), { status: 'warn', reason: 'broken' });
  t.ok(lines.has('null:'));
});

t.test('kernel versions: what each brings', async (t) => {
  const states = (release: string): string => [...linesOf(machine(tree(t, {}), { release })).values()].filter(line => line.area === 'kernel').slice(0, 7).map(line => line.status[0]).join('');
  t.equal(states('6.18.44-custom'), 'ooooooo');
  t.equal(states('6.10.2'), 'oooooow');
  t.equal(states('6.1.0-40-amd64'), 'oooowww');
  t.equal(states('5.9.0'), 'ooowwww');
  t.equal(states('5.4.0'), 'mowwwww');
  t.equal(states('4.19.0'), 'mwwwwww');
  t.equal(states('10.0.0'), 'ooooooo', 'versions are numbers');
});

t.test('sockets: refused for want of rights is there, refused as unknown is not; each that opens is closed', async (t) => {
  const closed: number[] = [];
  const binding = { socket: (family: number) => family === 44 ? 9 : -97, close: (fd: number) => closed.push(fd) };
  const lines = linesOf(machine(tree(t, {}), { addon: { binding, path: '/x' } }));
  t.match([lines.get('AF_XDP sockets'), lines.get('AF_PACKET sockets')], [{ status: 'ok' }, { status: 'missing', reason: /CONFIG_PACKET/ }]);
  t.same(closed, [9]);
  t.match(linesOf(machine(tree(t, {}), { addon: { binding: { socket: () => -1, close: () => 0 }, path: '/x' } })).get('AF_XDP sockets'), { status: 'ok', value: /may not/ });
});

t.test('the BPF JIT on, off, hidden', async (t) => {
  const state = (text?: string): string | undefined => linesOf(machine(tree(t, text === undefined ? {} : { '/proc/sys/net/core/bpf_jit_enable': text }))).get('BPF JIT')?.status;
  t.same([state('1\n'), state('2\n'), state('0\n'), state(), state('garbage')], ['ok', 'ok', 'warn', 'info', 'info']);
});

t.test('rights: each capability by its bit, CAP_BPF also by CAP_SYS_ADMIN, and what drivers lack', async (t) => {
  const withBits = (...bits: number[]): ReturnType<typeof linesOf> =>
    linesOf(machine(tree(t, { '/proc/self/status': statusFile(bits.reduce((mask, bit) => mask | 1n << BigInt(bit), 0n)) })));
  const names = ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_SYS_ADMIN', 'CAP_IPC_LOCK'];
  [13, 12, 39, 21, 14].forEach((bit, index) => {
    const lines = withBits(bit);
    for (const [other, name] of names.entries()) t.equal(lines.get(name)?.status, other === index || (bit === 21 && name === 'CAP_BPF') ? 'ok' : 'missing', `${name} with bit ${bit}`);
  });
  t.match(withBits(13, 12).get('af_xdp:'), { status: 'missing', reason: 'It needs CAP_BPF.' });
  t.match(withBits(12, 39).get('af_xdp:'), { status: 'missing', reason: 'It needs CAP_NET_RAW.' });
  t.match(withBits(13, 12, 39).get('af_xdp:'), { status: 'ok' });
  t.match(withBits().get('null:'), { status: 'ok' });
});

t.test('inside a user namespace capabilities are not over the machine', async (t) => {
  const lines = linesOf(machine(tree(t, { '/proc/self/status': statusFile(), '/proc/self/uid_map': '         0       1000          1\n' })));
  t.match([lines.get('CAP_BPF'), lines.get('user namespace'), lines.get('af_xdp:')], [{ status: 'info' }, { status: 'warn' }, { status: 'missing', reason: /user namespace/ }]);
});

t.test('user namespaces forbidden in three manners', async (t) => {
  for (const [path, value, mend] of [['user/max_user_namespaces', '0', /max_user_namespaces/], ['kernel/unprivileged_userns_clone', '0', /userns_clone/], ['kernel/apparmor_restrict_unprivileged_userns', '1', /apparmor/]] as const) {
    t.match(linesOf(machine(tree(t, { [`/proc/sys/${path}`]: value, '/proc/self/ns/user': '' }))).get('user namespaces'), { status: 'warn', mend });
  }
  t.match(linesOf(machine(tree(t, { '/proc/self/ns/user': '', '/proc/sys/user/max_user_namespaces': '63000' }))).get('user namespaces'), { status: 'ok' });
});

t.test('locked memory: a number, a limit that is too low, none', async (t) => {
  const limits = (soft: string): string => `Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         ${soft}              unlimited              bytes     \n`;
  const state = (soft: string, capabilities = 0n): object | undefined => linesOf(machine(tree(t, { '/proc/self/limits': limits(soft), '/proc/self/status': statusFile(capabilities) }))).get('locked memory');
  t.match(state('65536'), { status: 'warn', value: '64 KiB', mend: /ulimit -l/ });
  t.match(state(String(16 << 20)), { status: 'ok' });
  t.match(state('unlimited'), { status: 'ok', value: 'unlimited' });
  t.match(state('65536', 1n << 14n), { status: 'ok', value: /CAP_IPC_LOCK/ });
});

t.test('huge pages of two sizes on two nodes, hugetlbfs, transparent ones', async (t) => {
  const contents: Record<string, string> = { '/proc/self/mounts': 'proc /proc proc rw 0 0\nnodev /dev/hugepages hugetlbfs rw 0 0\nnodev /mnt/1g hugetlbfs rw 0 0\n', '/sys/kernel/mm/transparent_hugepage/enabled': 'always madvise [never]\n' };
  for (const [kib, total, free] of [[2048, 512, 300], [1048576, 4, 0]] as const) {
    contents[`/sys/kernel/mm/hugepages/hugepages-${kib}kB/nr_hugepages`] = `${total}\n`;
    contents[`/sys/kernel/mm/hugepages/hugepages-${kib}kB/free_hugepages`] = `${free}\n`;
  }
  contents['/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages'] = '0\n';
  contents['/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages'] = '300\n';
  const lines = linesOf(machine(tree(t, contents)));
  t.match(lines.get('huge pages of 2 MiB'), { status: 'ok', value: '300 free of 512 (node0: 0, node1: 300)' });
  t.match(lines.get('huge pages of 1 GiB'), { status: 'info', value: /^0 free of 4/ });
  t.match(lines.get('hugetlbfs'), { value: 'mounted on /dev/hugepages, /mnt/1g' });
  t.match(lines.get('transparent huge pages'), { status: 'warn', value: 'never' });
  const none = linesOf(machine(tree(t, { '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '0' })));
  t.match(none.get('huge pages of 2 MiB'), { status: 'warn', mend: /nr_hugepages/ });
});

t.test('processors: allowed, isolated, governors, two nodes', async (t) => {
  const lines = linesOf(machine(tree(t, {
    '/proc/self/status': statusFile(0n, '0-1,8-9'), '/sys/devices/system/cpu/online': '0-15\n', '/sys/devices/system/cpu/isolated': '8-9\n', '/sys/devices/system/cpu/nohz_full': '9\n',
    '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n', '/sys/devices/system/cpu/cpu8/cpufreq/scaling_governor': 'performance\n',
    '/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor': 'not ours\n',
    '/sys/devices/system/node/node0/cpulist': '0-7\n', '/sys/devices/system/node/node1/cpulist': '\n',
  })));
  t.match(lines.get('CPUs'), { status: 'ok', value: '4 of 16 online may be used (0-1,8-9)' });
  t.match(lines.get('isolated CPUs'), { status: 'ok', value: '8-9, without timer ticks: 9' });
  t.match(lines.get('frequency governor'), { status: 'warn', value: 'powersave, performance' });
  t.match(lines.get('NUMA'), { status: 'ok', value: '2 nodes (node0: CPUs 0-7; node1: CPUs none)' });
  t.match(linesOf(machine(tree(t, { '/proc/self/status': statusFile(0n, '3') }))).get('CPUs'), { status: 'warn' });
});

t.test('CPU lists: any text gives CPUs in range, in bounded time', async (t) => {
  t.same(parseCpuList('0-2,5, 7-7\n'), [0, 1, 2, 5, 7]);
  t.same(parseCpuList('3-1,x,,-4,99999999-999999999'), []);
  fc.assert(fc.property(fc.stringMatching(/^[0-9,\- x]{0,30}$/), text => parseCpuList(text).every(cpu => Number.isInteger(cpu) && cpu >= 0 && cpu < 8192)));
});

const NIC: Record<string, string> = {
  '/sys/class/net/eth0': '-> /sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/net/eth0',
  '/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/net/eth0/ifindex': '2\n',
  '/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/net/eth0/device': '-> /sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0',
  '/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/numa_node': '1\n',
  '/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/driver': '-> /sys/bus/pci/drivers/ice',
  '/sys/bus/pci/drivers/ice/bind': '',
};

t.test('a NIC on the second node, with everything', async (t) => {
  const which = machine(tree(t, { ...NIC, '/proc/thread-self/net/route': 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n' }), { answers: {
    links: () => [link({})],
    xdp: () => [features({ ifindex: 7 }), features({ xdp: ['basic', 'redirect', 'ndo-xmit', 'xsk-zerocopy', 'rx-sg'], zeroCopyMaxSegments: 8, rxMetadata: ['hash'], xsk: ['tx-timestamp'] })],
    driver: () => ({ driver: 'ice', version: '', firmware: '', bus: '0000:81:00.0' }),
    channels: () => ({ maxRx: 0, maxTx: 0, maxOther: 1, maxCombined: 64, rx: 0, tx: 0, other: 1, combined: 8 }),
    queues: () => [{ ifindex: 2, queue: 3, direction: 'rx', napi: 1, xsk: true }, { ifindex: 2, queue: 3, direction: 'tx', napi: 1, xsk: true }],
  } });
  const lines = linesOf(which);
  t.match(lines.get('eth0'), { status: 'ok', value: 'ice at 0000:81:00.0 NUMA node 1; up, link up; MTU 1500' });
  t.match(lines.get('eth0 queues'), { status: 'info', value: '8 of 64 combined; AF_XDP sockets on 3' });
  t.match(lines.get('eth0 XDP'), { status: 'ok', value: 'native; redirects, takes redirected frames, zero-copy AF_XDP (8 segments), multi-buffer, rx hash, AF_XDP tx-timestamp' });
  t.match(lines.get('eth0 opens as'), { value: 'af_xdp:eth0', reason: /default route/ });
  t.match(examine(which).interfaces, [{ numaNode: 1, driver: 'ice', xskQueues: [3], defaultRoute: true }]);
});

t.test('without the addon the same is read from sysfs, as far as it goes', async (t) => {
  const folder = '/sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/net/eth0';
  const files = tree(t, { ...NIC, [`${folder}/flags`]: '0x1003\n', [`${folder}/mtu`]: '9000\n', [`${folder}/operstate`]: 'up\n', [`${folder}/address`]: '02:00:00:00:00:01\n', [`${folder}/queues/rx-0/x`]: '', [`${folder}/queues/rx-1/x`]: '', [`${folder}/queues/tx-0/x`]: '', '/sys/class/net/bonding_masters': '' });
  const report = examine(machine(files, { network: undefined, addon: { binding: new PollmodeError('EADDON', 'None: build it.'), path: undefined } }));
  t.match(report.interfaces, [{ name: 'eth0', ifindex: 2, driver: 'ice', bus: '0000:81:00.0', numaNode: 1, mtu: 9000, up: true, rxQueues: 2, txQueues: 1 }]);
  t.equal(report.interfaces.length, 1);
  t.same(departures(report, REPORT), []);
  t.match(report.lines.find(line => line.what === 'native addon'), { status: 'missing', reason: 'None: build it.' });
});

t.test('sysfs of another namespace is not believed', async (t) => {
  const lines = linesOf(machine(tree(t, NIC), { answers: { links: () => [link({ ifindex: 5, up: false })] } }));
  t.match(lines.get('eth0'), { status: 'info', value: /^no driver named; down/ });
});

t.test('which device string: native, generic, a tap, a name with a comma', async (t) => {
  const named = (name: string): PortDriver => ({ name, summary: '', options: {}, probe: () => ({ usable: true }), plan: () => ({ mbufs: 0, bufferSize: 0, registered: false }), open: () => { throw new Error(); } });
  const device = (change: Partial<Link>, xdp: XdpFeatures | undefined, names: string[]): string | undefined =>
    examine(machine(tree(t, {}), { drivers: names.map(named), answers: { links: () => [link(change)], xdp: () => xdp === undefined ? [] : [xdp] } })).interfaces[0]?.device;
  t.equal(device({}, features({ xdp: ['basic'] }), []), 'af_xdp:eth0');
  t.equal(device({}, undefined, []), 'af_xdp:eth0', 'mode=auto tries');
  t.equal(device({}, features({}), ['af_xdp']), 'af_xdp:eth0,mode=generic');
  t.equal(device({}, features({}), ['af_xdp', 'af_packet']), 'af_packet:eth0');
  t.equal(device({ kind: 'tun' }, features({}), ['af_packet', 'tap']), 'tap:eth0');
  t.equal(device({ name: 'a,b' }, features({ xdp: ['basic'] }), []), 'af_xdp:a\\,b');
});

t.test('IOMMU and VFIO: nothing, present and off, ready, without IOMMU', async (t) => {
  const both = (contents: Record<string, string>): (object | undefined)[] => ['IOMMU', 'VFIO'].map(name => linesOf(machine(tree(t, contents))).get(name));
  t.match(both({}), [{ status: 'missing' }, { status: 'info', reason: /without an IOMMU.*modprobe vfio-pci/ }], 'one thing is missing, and not two');
  t.match(both({ '/sys/kernel/iommu_groups/0/x': '' }), [{ status: 'ok' }, { status: 'missing', mend: /^As root: modprobe vfio-pci/ }]);
  t.match(both({ '/sys/class/iommu/dmar0/x': '', '/proc/cmdline': 'quiet iommu=off' }), [{ status: 'missing', value: /no groups \(kernel line: iommu=off\)/ }, {}]);
  const ready = { '/sys/kernel/iommu_groups/0/type': 'DMA', '/sys/kernel/iommu_groups/13/type': 'DMA', '/proc/cmdline': 'intel_iommu=on root=/dev/x', '/sys/bus/pci/drivers/vfio-pci/bind': '', '/dev/vfio/vfio': '', '/dev/vfio/13': '' };
  t.match(both(ready), [{ status: 'ok', value: '2 groups (kernel line: intel_iommu=on)' }, { status: 'ok', value: /groups 13$/ }]);
  t.match(both({ '/dev/vfio/vfio': '' })[1], { status: 'warn' });
  t.match(linesOf(machine(tree(t, { '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode': 'Y\n' }))).get('VFIO without IOMMU'), { status: 'warn' });
  t.notOk(linesOf(machine(tree(t, { '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode': 'N\n' }))).has('VFIO without IOMMU'));
});

t.test('PCI network devices, with or without an interface; other classes are left out', async (t) => {
  const folder = '/sys/bus/pci/devices';
  const lines = linesOf(machine(tree(t, {
    [`${folder}/0000:01:00.0/class`]: '0x020000\n', [`${folder}/0000:01:00.0/vendor`]: '0x8086\n', [`${folder}/0000:01:00.0/device`]: '0x10d3\n', [`${folder}/0000:01:00.0/numa_node`]: '-1\n',
    [`${folder}/0000:01:00.0/iommu_group`]: '-> /sys/kernel/iommu_groups/7', '/sys/kernel/iommu_groups/7/type': 'DMA', [`${folder}/0000:01:00.0/driver`]: '-> /sys/bus/pci/drivers/vfio-pci', '/sys/bus/pci/drivers/vfio-pci/bind': '',
    [`${folder}/0000:02:00.0/class`]: '0x020000\n', [`${folder}/0000:02:00.0/vendor`]: '0x8086\n', [`${folder}/0000:02:00.0/device`]: '0x10c9\n', [`${folder}/0000:02:00.0/numa_node`]: '1\n', [`${folder}/0000:02:00.0/sriov_totalvfs`]: '8\n', [`${folder}/0000:02:00.0/sriov_numvfs`]: '2\n',
    [`${folder}/0000:03:00.0/class`]: '0x010802\n',
  })));
  t.match(lines.get('0000:01:00.0'), { status: 'ok', value: '8086:10d3, vfio-pci, IOMMU group 7' });
  t.match(lines.get('0000:02:00.0'), { status: 'info', value: '8086:10c9, no driver, no IOMMU group, NUMA node 1, 2 of 8 virtual functions' });
  t.notOk(lines.has('0000:03:00.0'));
});

t.test('the journal: left, living, elsewhere, set aside, untrusted', async (t) => {
  const left = (change: object): object => ({ path: '/run/pollmode/x.journal', pid: 7, fate: 'dead', entries: [], unreadable: [], ...change });
  const states = (...journals: object[]): object[] => examine(machine(tree(t, {}), { journals: () => journals as never })).lines.filter(line => line.area === 'journal');
  t.match(states(), [{ status: 'ok', value: 'nothing' }]);
  t.match(states(left({ fate: 'before boot', entries: ['a'] })), [{ status: 'ok' }]);
  t.match(states(left({ entries: ['a', 'b'] })), [{ status: 'warn', value: 'a', mend: /doctor --clean/ }, { value: 'b' }]);
  t.match(states(left({ fate: 'alive', entries: ['a'] }), left({ fate: 'elsewhere', entries: ['b'] })), [{ status: 'info' }, { status: 'info' }]);
  t.match(states(left({ fate: 'set aside', unreadable: ['x'] })), [{ status: 'warn', mend: /rm \/run/ }]);
  t.match(states(left({ fate: 'untrusted', unreadable: ['/run/pollmode belongs to user 7'] })), [{ status: 'warn', value: /belongs to user 7/ }]);
});
