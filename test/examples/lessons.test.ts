/** The lessons: each runs alone, and what it prints is true. Speeds are printed and looked at by people; no test is about them. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Arena } from '../../lib/arena/arena.js';
import { listNetworkDevices } from '../../lib/kernel/pci.js';
import { Rss } from '../../lib/rss/rss.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { needs } from '../kernel/rights.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const LESSONS = readdirSync(`${ROOT}examples`).filter(name => /^\d\d-.*\.ts$/.test(name)).map(name => name.replace('.ts', '')).sort();
/** A process of root's without any rights. */
const WITHOUT_RIGHTS = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];

/** What a lesson prints, line by line. */
function lesson(t: Test, number: number, { prefix = [], words = [] }: { prefix?: readonly string[]; words?: readonly string[] } = {}): string[] {
  const name = LESSONS[number - 1]!;
  const [program, ...rest] = [...prefix, process.execPath, `${ROOT}dist/examples/${name}.js`, ...words] as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8', timeout: 150_000 });
  t.equal(status, 0, `${name} ${stderr}`);
  t.equal(stderr, '');
  return stdout.split('\n');
}

/** The numbers of a line. */
const numbers = (line = ''): number[] => (line.match(/\d+(\.\d+)?/g) ?? []).map(Number);
const found = (lines: readonly string[], what: RegExp): RegExpExecArray => {
  const match = what.exec(lines.join('\n'));
  if (match === null) throw new Error(`${String(what)} is not in\n${lines.join('\n')}`);
  return match;
};

t.test('they stand in order, say their own names, and the README lists all', async t => {
  const readme = readFileSync(`${ROOT}README.md`, 'utf8');
  LESSONS.forEach((name, i) => {
    const source = readFileSync(`${ROOT}examples/${name}.ts`, 'utf8');
    t.equal(Number(name.slice(0, 2)), i + 1);
    t.match(source, new RegExp(`^/\\*\\*\\n \\* Lesson ${i + 1}: .*node dist/examples/${name}\\.js.*\\n \\*\\n \\* You will learn\\n`), name);
    t.ok(readme.includes(`[${i + 1}](examples/${name}.ts)`), `README: ${name}`);
  });
  t.equal(LESSONS.length, 14);
});

t.test('1: a handle says where the bytes are', needs(), async t => {
  const lines = lesson(t, 1);
  t.same(lines.slice(1, 10).map(line => numbers(line)[0]), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
  const [handle, bytes, at, headroom] = numbers(lines[11]) as [number, number, number, number];
  t.same([bytes, headroom], [60, 256]);
  t.equal(at, handle * 2048 + headroom);
});

t.test('2: nobody loses a packet', needs(), async t => {
  const rows = lesson(t, 2).slice(0, 6).map(line => numbers(line.slice(44)));
  t.same(rows, [[64, 0, 0, 64], [52, 12, 0, 64], [52, 4, 8, 64], [56, 0, 8, 64], [56, 8, 0, 64], [64, 0, 0, 64]]);
});

t.test('3: metadata', needs(), async t => {
  const lines = lesson(t, 3);
  const states = lines.filter(line => line.includes('data_off') && line.includes('behind')).map(line => numbers(line.slice(69)));
  t.same(states, [[256, 0, 1792], [256, 102, 1690], [206, 152, 1690], [256, 102, 1690]]);
  t.same(lines.filter(line => line.startsWith('  |')).map(picture => [picture.length, picture.split('▇').length - 1]), [[68, 0], [68, 4], [68, 5], [68, 4]]);
  const value = (field: string): string => lines.find(line => line.startsWith(field))!.slice(30, 49).trim();
  const handle = Number(value('handle'));
  t.equal(Number(value('buffer')), handle * 2048);
  t.equal(Number(value('headroom')) + Number(value('dataLen')) + Number(value('tailroom')), 2048);
  t.equal(Number(value('hash')), hashOf({ source: '10.0.0.1', destination: '10.0.0.2', protocol: 'udp', sourcePort: 53, destinationPort: 5353 }));
  t.same([value('packetType'), value('l2Len'), value('mark'), value('pktLen')], ['0x211: UDP', '14, 20, 8', '7', '102']);
  const segments = lines.filter(line => line.startsWith('  handle')).map(line => numbers(line)[1]!);
  t.same(segments, [1792, 1792, 430]);
  t.equal(segments.reduce((sum, each) => sum + each), 4014);
  const [both, one, none] = ['clone', 'one frees', 'the other'].map(start => numbers(lines.find(line => line.startsWith(start)))) as [number[], number[], number[]];
  t.same([both[0], one[0], both[1], none], [2, 1, one[1], [one[1]! + 3, 3]]);
});

function hashOf(flow: Flow): number {
  const arena = Arena.create({ size: 16 << 20 });
  const hash = Rss.create(arena, 'rss').hashFlow(flow);
  arena.close();
  return hash;
}

t.test('4: descriptors', needs(), async t => {
  const lines = lesson(t, 4);
  /** A picture of the ring: the addresses that are given, null for what is the driver's; and where head and tail are. */
  const ring = (title: RegExp): { given: (number | null)[]; head: number; tail: number } => {
    const start = lines.findIndex(line => title.test(line)) + 1;
    const rows = lines.slice(start, start + 8);
    return { given: rows.map(row => row.includes('device\'s') ? Number(/0x[0-9a-f]+/.exec(row)![0]) : null), head: rows.findIndex(row => row.includes('<- head')), tail: rows.findIndex(row => row.includes('<- tail')) };
  };
  const [first, full, refilled] = [ring(/^open/), ring(/^9 frames/), ring(/^rxBurst/)];
  t.same([first.head, first.tail, first.given[7]], [0, 7, null]);
  t.equal(new Set(first.given).size, 8, 'seven different buffers');
  t.ok(first.given.slice(0, 7).every(at => at! % 2048 === 256), 'each a frame behind the headroom');
  t.same([full.head, full.tail, full.given.every(at => at === null)], [7, 7, true]);
  t.match(lines.join('\n'), /7 found a descriptor, 2 were dropped/);
  t.same([refilled.head, refilled.tail, refilled.given.filter(at => at !== null).length], [7, 2, 3]);
  const taken = lines.filter(line => line.startsWith('  handle')).map(line => ({ handle: numbers(line)[0]!, iova: Number(/0x[0-9a-f]+/.exec(line)![0]), port: Number(/UDP (\d+)/.exec(line)![1]) }));
  t.same(taken.map(({ port }) => port), [0, 1, 2], 'the first three that came');
  t.same(taken.map(({ iova }) => iova), first.given.slice(0, 3), 'from where the device was told to write them');
  t.ok(taken.every(({ handle, iova }) => iova === 2 ** 32 + handle * 2048 + 256));
  const read = lines.filter(line => line.startsWith('  the NIC reads'));
  t.same(read.map(line => Number(/0x[0-9a-f]+/.exec(line)![0])), taken.map(({ iova }) => iova));
  t.same(read.map(line => line.endsWith('reports')), [false, false, true]);
  t.same(read.map(line => /for ([\d:a-f]+)/.exec(line)![1]), [0, 1, 2].map(i => `02:00:00:00:00:0${i}`), 'with the addresses exchanged');
  t.match(lines.join('\n'), /txBurst of 3: the tail is at 3, 3 buffers are the device's[^]* one report for the burst, and 0 are\n/);
  t.match(lines.join('\n'), /IOMMU fault: the device may not reach 0x1[0-9a-f]{8}\n/);
});

t.test('5: what this machine has', needs(), async t => {
  const lines = lesson(t, 5);
  for (const { address, driver = '-' } of listNetworkDevices()) t.ok(lines.some(line => line.startsWith(address) && line.includes(driver)), address);
  t.match(lines[0], /^IOMMU: (none|\d+ groups)/);
  t.match(lesson(t, 5, { words: ['0000:1f:1f.7'] })[0], /0000:1f:1f\.7 .*(modprobe|There is no PCI device)/, 'what is missing, as a sentence');
});

t.test('6: what went into the ring came out of it, or is there', needs(), async t => {
  const lines = lesson(t, 6);
  const [into, out] = numbers(lines.find(line => line.startsWith('moved'))) as [number, number];
  const [free, ring, total] = numbers(lines.find(line => line.startsWith('the pool'))) as [number, number, number];
  t.ok(out > 0, `${out} packets`);
  t.equal(into - out, ring);
  t.equal(free + ring, total);
});

t.test('7: the kernel\'s words come back', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const lines = lesson(t, 7);
  for (const word of ['hello', 'from', 'the', 'kernel']) t.ok(lines.some(line => line.startsWith(`sent "${word}", "${word}" came back`)), word);
  t.match(lines[6], /^4 received, 4 sent; system calls: \d+ to receive, [1-4] to send$/);
  const poor = lesson(t, 7, { prefix: WITHOUT_RIGHTS });
  t.match(poor[0], /^No real frames: .*run as root/);
  t.match(poor[3], /^back {2}02:00:00:00:00:0b > 02:00:00:00:00:0a, IPv4 10\.77\.0\.2 > 10\.77\.0\.1, UDP 9 > 4000$/);
});

t.test('8: who sleeps, and who does not', needs(), async t => {
  const lines = lesson(t, 8);
  t.notMatch(lines.join('\n'), /did not come/);
  const rows = lines.filter(line => /^ *\d+ {3}(busy|interrupt|adaptive)/.test(line)).map(line => ({ policy: line.split(/ +/)[2], sleeps: Number(line.slice(50, 56)), woken: Number(line.slice(57, 64)) }));
  t.same(rows.map(({ policy }) => policy), ['busy', 'interrupt', 'adaptive', 'busy', 'interrupt', 'adaptive']);
  for (const { policy, sleeps, woken } of rows) {
    t.ok(woken <= sleeps, `${policy}: woken ${woken} times of ${sleeps}`);
    if (policy === 'busy') t.equal(sleeps, 0, 'busy never sleeps');
    if (policy === 'interrupt') t.ok(woken > 0, 'interrupt does');
  }
});

t.test('9: each flow comes to the queue that was predicted', needs(), async t => {
  const lines = lesson(t, 9);
  t.match(lines[1], /^66\.9\.149\.187:2794 +0x51ccc178 +0x51ccc178 /, 'Microsoft\'s own example');
  const flows = lines.slice(1, 9).map(line => {
    const [name, byHand, predicted, entry, queue] = line.split(/ +/) as [string, string, string, string, string];
    t.equal(byHand, predicted, name);
    t.equal(Number(predicted) % 16, Number(entry), name);
    return { name, entry: Number(entry), queue: Number(queue) };
  });
  const tables = lines.filter(line => line.startsWith('redirection table')).map(line => numbers(line));
  const came = lines.filter(line => line.startsWith('  queue ')).map(line => line.slice(11).split(', ').filter(name => name !== '-').sort());
  tables.forEach((table, time) => {
    for (let queue = 0; queue < 4; queue++) t.same(came[time * 4 + queue], flows.filter(({ entry }) => table[entry] === queue).map(({ name }) => name).sort(), `table ${time}, queue ${queue}`);
  });
  t.same(flows.map(({ queue }) => queue), flows.map(({ entry }) => tables[0]![entry]));
  t.ok(tables[0]!.every((queue, entry) => queue === 3 || queue === tables[1]![entry]) && !tables[1]!.includes(3));
  t.same(lines.slice(-5, -1).map(line => line.trim().split(/ +/).at(-1)), ['yes', 'yes', 'yes', 'yes'], 'symmetric');
});

t.test('10: flows move, and keep their order', needs(), async t => {
  const lines = lesson(t, 10);
  t.match(lines.join('\n'), /\n80000 packets sent, 80000 seen, 0 out of order; 0 dropped, 0 left over\n2 buckets moved; /);
  lines.slice(1, 9).forEach((line, flow) => {
    const [predicted, parts] = [Number(/worker (\d)/.exec(line)![1]), [...line.matchAll(/(\d+) to (\d+) by (\d)/g)].map(part => part.slice(1).map(Number))];
    t.equal(parts.length, [3, 6].includes(flow) ? 2 : 1, `flow ${flow}`);
    t.same([parts[0]![0], parts[0]![2], parts.at(-1)![1]], [0, predicted, 9999]);
    if (parts.length === 2) t.same([parts[1]![0], parts[1]![2]], [parts[0]![1]! + 1, 1 - predicted], 'one ends where the other begins');
    t.match(line, new RegExp(parts.map(([, , by]) => ` ?${by}+`).join('')), 'the picture says the same');
  });
});

t.test('11: frames and bytes', needs(), async t => {
  const lines = lesson(t, 11);
  t.same(numbers(lines[2]), [10, 67, 64, 1230, 1518, 7230, 9018], 'a line of 10 Gbit/s');
  const rows = lines.filter(line => /^ +(64|1518|9018) +\d+ /.test(line)).map(line => numbers(line));
  t.same(rows.map(([size, , buffers]) => [size, buffers]), [[64, 1], [1518, 1], [9018, 6], [64, 1], [1518, 1], [9018, 6]]);
  for (const [size, frames, , each, , million, gigabits] of rows as [number, number, number, number, number, number, number][]) {
    t.ok(frames * size >= 64e6 && (frames - 16) * size < 64e6, `${frames} frames of ${size}`);
    t.ok(Math.abs(million * size * 8 / 1000 - gigabits) <= 0.06 + size * 8 / 1000 * 0.006, `${million} million a second are ${gigabits} Gbit/s`);
    // Both are rounded: to hundredths of a million, and to whole nanoseconds.
    t.ok(Math.abs(million - 1000 / each) <= 0.006 + 600 / each ** 2, `${million} million a second, and ${each} ns each`);
  }
});

t.test('12: the small packets wait for their turn, or for the whole queue', needs(), async t => {
  const lines = lesson(t, 12);
  const [line, fair] = ['pfifo', 'fq_codel'].map(kind => numbers(lines.find(text => text.startsWith(`${kind}:`)))) as [number[], number[]];
  // Simulated time. A third of what flow 1 sends is too much and stays: after 2 s some 0.6 s of the line's time. In the fair
  // queue a packet waits for one of the other flow at most, 1.2 ms at 10 Mbit/s, and for the shaper.
  t.ok(line[1]! > 500 && line[0]! > 250, `${line.join()} ms in one line`);
  t.ok(fair[1]! < 5, `${fair.join()} ms in a fair one`);
});

t.test('13: two processes, and a killed one', needs(), async t => {
  const said = lesson(t, 13).join('\n');
  t.match(said, /first: {2}sent 100000 packets, 100000 came back\n/);
  t.match(said, /second: ring:back,tx=there,size=4096 of the first process sent 100000 packets of 4200000 bytes, and received 100000\n/);
  t.match(said, /first: {2}the killed one held 10 packets: they are back\nfirst: {2}(\d+) of \1 packets are free\n/);
});

t.test('14: a switch, a tunnel', needs(), async t => {
  const lines = lesson(t, 14);
  const answer = lines.findIndex(line => line.startsWith('vm3 answers'));
  const [asked, answered] = [lines.slice(0, answer), lines.slice(answer)];
  const seen = (where: readonly string[], what: RegExp): number => where.filter(line => what.test(line)).length;
  t.equal(seen(asked, /vm[23] gets:.*10\.0\.0\.1 > 10\.0\.0\.3/), 2, 'flooded: to vm2, and through the tunnel to vm3');
  t.same([seen(asked, /wire: .*ARP who has 192\.0\.2\.2, tell 192\.0\.2\.1/), seen(asked, /wire: .*192\.0\.2\.1 > 192\.0\.2\.2, UDP \d+ > 4789, VXLAN 42, .*10\.0\.0\.1 > 10\.0\.0\.3/)], [1, 1]);
  t.same([seen(answered, /vm1 gets/), seen(answered, /vm[23] gets/), seen(answered, /VXLAN 42/)], [1, 0, 1], 'the answer goes to vm1 alone');
  const known = (where: readonly string[]): string[] => where.filter(line => /^ {2}(left|right) .* is at /.test(line)).map(line => line.trim().replace(/ +/g, ' '));
  t.same(known(asked), ['left 02:00:00:00:00:01 is at vm1', 'right 02:00:00:00:00:01 is at tunnel (192.0.2.1)']);
  t.same(known(answered).sort(), ['left 02:00:00:00:00:01 is at vm1', 'left 02:00:00:00:00:03 is at tunnel (192.0.2.2)', 'right 02:00:00:00:00:01 is at tunnel (192.0.2.1)', 'right 02:00:00:00:00:03 is at vm3']);
  const [sent, , , arrived, polled, slow] = numbers(found(lines, /\n(2000 more.*)/)[1]) as [number, number, number, number, number, number];
  t.same([sent, arrived, polled], [2000, 2000, 4000]);
  t.ok(slow <= 80, `${slow} went the slow way`);
  t.match(lines.join('\n'), /vm1 +02:00:00:00:00:01 > 02:00:00:00:00:03 +2001 packets +to tunnel 192\.0\.2\.2\n.*2001 packets +to vm3\n.*02:00:00:00:00:03 > 02:00:00:00:00:01 +1 packets +to vm1\n/);
});
