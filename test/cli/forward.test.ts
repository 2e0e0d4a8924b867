import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import t from 'tap';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab, type LabEnd } from '../../lib/lab/veth.js';
import { drivers } from '../../lib/port/drivers.js';
import { open } from '../../lib/port/host.js';
import type { OptionSpec } from '../../lib/port/port.js';
import { bitRate, byteCount, counted, packetRate } from '../../lib/cli/figures.js';
import { seconds, whole } from '../../lib/cli/forward.js';
import type { ForwardTotals } from '../../lib/cli/forwarder.js';
import { needs } from '../kernel/rights.js';
import { escapeValue, optionKey } from '../port/device_helper.js';
import { frame } from '../port/conformance/frames.js';
import { RawWire, sendBy } from '../port/conformance/wires.js';
import { MAIN, pollmode } from './program_helper.js';

interface Ended { readonly status: number | null; readonly stdout: string; readonly stderr: string }

function forward(...words: string[]): ForwardTotals {
  const { status, stdout, stderr } = pollmode('forward', ...words, '--json');
  t.same([status, stderr], [0, ''], words.join(' '));
  return JSON.parse(stdout) as ForwardTotals;
}

/** Runs in the background. */
function start(t: { teardown(work: () => void): void }, ...words: string[]): { child: ChildProcess; ended: Promise<Ended & { signal: string | null }> } {
  const child = spawn(process.execPath, [MAIN, 'forward', ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name]!.setEncoding('utf8').on('data', (text: string) => { said[name] += text; });
  const ended = once(child, 'close').then(([status, signal]) => ({ status: status as number | null, signal: signal as string | null, ...said }));
  return { child, ended };
}

t.test('null: to null:, so many packets or so long', t => {
  const counted = forward('null:', 'null:size=1514', '--count', '100003', '--burst', '17');
  t.match(counted, { forwarded: 100003, dropped: 0 });
  const [a, b] = counted.ports;
  t.equal(a!.rxPackets + b!.rxPackets, 100003);
  t.same([a!.rxPackets, b!.rxPackets, a!.rxBytes, b!.rxBytes], [b!.txPackets, a!.txPackets, b!.txBytes, a!.txBytes], 'what came in at one went out at the other');
  t.same([a!.rxBytes, b!.rxBytes], [a!.rxPackets * 60, b!.rxPackets * 1514]);
  t.match(counted.ports, [{ name: 'null:', rxNoMbuf: 0, txRefused: 0 }, { name: 'null:size=1514', mode: 'frames of 1514 bytes' }]);
  const timed = forward('null:', 'null:', '--seconds', '0.2', '--mbufs', '512', '--mode', 'macswap');
  t.ok(timed.forwarded > 0 && timed.seconds > 0 && timed.packetsPerSecond > 0);
  t.end();
});

t.test('ring: to null:, each packet accounted for', t => {
  const { forwarded, dropped, ports: [source, ring] } = forward('null:', 'ring:x,size=64', '--burst', '100', '--count', '5000', '--mode', 'mac');
  t.ok(forwarded >= 5000);
  t.ok(dropped > 0, 'bursts of 100 into a ring of 64');
  t.equal(forwarded, ring!.txPackets + source!.txPackets);
  t.equal(ring!.txRefused, dropped, 'what the ring refused was dropped');
  t.equal(source!.rxPackets, ring!.txPackets + dropped);
  t.equal(source!.txPackets, ring!.rxPackets);
  t.match(forward('ring:a', 'ring:b', '--seconds', '0.1'), { forwarded: 0, dropped: 0 }, 'two empty rings');
  t.end();
});

t.test('one way, nothing comes back', t => {
  const { forwarded, ports: [a, b] } = forward('null:', 'null:', '--one-way', '--count', '640');
  t.same([forwarded, a!.rxPackets, a!.txPackets, b!.rxPackets, b!.txPackets], [640, 640, 0, 0, 640]);
  t.end();
});

t.test('an interface with the default route is not taken away from its machine unless forced', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), t => {
  const inside = 'ip link add left type veth peer name right && ip link set left up && ip link set right up && ip address add 10.9.0.1/24 dev left && ip route add default via 10.9.0.2 && exec "$@"';
  const there = (...words: string[]): Ended => {
    const { status, stdout, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', inside, 'sh', process.execPath, MAIN, 'forward', ...words], { encoding: 'utf8', timeout: 120_000 });
    return { status, stdout, stderr };
  };
  const refused = there('af_xdp:left', 'null:', '--one-way', '--seconds', '0.2');
  t.equal(refused.status, 1);
  t.match(refused.stderr, /^pollmode: af_xdp:left: left carries the default route.* or say --force\.\n$/);
  for (const words of [['af_xdp:right'], ['af_xdp:left', '--force'], ['af_packet:left']]) t.same([there(...words, 'null:', '--one-way', '--seconds', '0.2', '--quiet').status], [0], words.join(' '));
  t.end();
});

t.test('totals for a person', t => {
  const { status, stdout, stderr } = pollmode('forward', 'null:', 'null:', '--count', '64', '--quiet');
  t.same([status, stderr], [0, '']);
  t.match(stdout, /^64 packets forwarded in \d+\.\d\d s \([\d.]+ [kM]?pps\), 0 dropped\n {2}null: \(frames of 60 bytes\): rx 32 packets 1920 bytes, tx 32 packets 1920 bytes\n {2}null: .*\n$/);
  t.end();
});

t.test('what cannot be opened: exit code 1, and a sentence that ends with the mend', t => {
  for (const [a, b, sentence] of [
    ['nonesuch:', 'null:', /No driver is named "nonesuch": there are null, ring, .*/],
    ['eth0', 'null:', /must start with a driver's name and a colon\. Write driver:device,key=value.*/],
    ['null:', 'null:size=huge', /size=huge — give a whole number from 14 to 3840/],
    ['null:', 'ring:', /ring needs something after the colon: name of the ring to receive from/],
    ['null:nic', 'null:', /null takes no device: write null: .*/],
    ['null:', 'af_xdp:nosuch0', /.*(there is no interface "nosuch0" in this network namespace \(ip link shows them\)|run as root|Build it from source).*/],
    ['null:', 'af_packet:nosuch0', /.*(there is no interface "nosuch0" in this network namespace \(ip link shows them\)|run as root|Build it from source).*/],
  ] as const) {
    const { status, stdout, stderr } = pollmode('forward', a, b, '--seconds', '1');
    t.same([status, stdout], [1, ''], `${a} ${b}`);
    t.match(stderr, new RegExp(`^pollmode: .*${sentence.source}\\.\n$`), 'one line');
  }
  const { status, stderr } = pollmode('forward', 'null:', 'null:', '--cpu', '4095', '--seconds', '1');
  t.equal(status, 1);
  t.match(stderr, /CPU 4095 cannot be pinned to: this process may use [\d, ]+\.|native addon/);
  t.end();
});

t.test('without the addon: which port, why, and how to build it, in whole sentences', t => {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'forward', 'af_packet:lo', 'null:'], { encoding: 'utf8', env: { ...process.env, POLLMODE_ADDON: '/no/such/addon.node' } });
  t.equal(status, 1);
  t.match(stderr, /^pollmode: af_packet:lo cannot be opened here: the native addon is not there\. Pollmode's native addon could not be loaded on .*node-gyp rebuild\.\n$/);
  t.end();
});

t.test('a reader that goes early ends it without a word', async t => {
  for (const [gone, ...words] of [['stdout', 'forward', 'null:', 'null:', '--count', '1000', '--json'], ['stdout', 'doctor', '--json'], ['stderr', 'forward', 'null:', 'null:', '--seconds', '1.2']] as const) {
    const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    t.teardown(() => { child.kill('SIGKILL'); });
    child[gone].destroy();
    let said = '';
    if (gone === 'stdout') child.stderr.setEncoding('utf8').on('data', (text: string) => { said += text; });
    else child.stdout.resume();
    t.same(await once(child, 'close'), [0, null], words.join(' '));
    t.equal(said, '');
  }
});

t.test('wrong usage is refused before anything is opened', t => {
  for (const words of [
    [], ['null:', 'null:', 'null:'], ['null:', 'null:', '--burst', '513'], ['null:', 'null:', '--mode', 'fly'], ['null:', 'null:', '--nonesuch'],
  ]) {
    const { status, stdout, stderr } = pollmode('forward', ...words);
    t.ok(status !== 0 && status !== null, words.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^error: .*\n(.*\n)*\(pollmode forward --help tells what there is\)\n$/);
  }
  for (const text of ['', '-1', '1.5', '1e6', 'soon', '0x10', ' 1', '1 ', 'NaN', '9'.repeat(30)]) t.throws(() => whole(0, 2 ** 53 - 1)(text), { code: 'commander.invalidArgument' }, JSON.stringify(text));
  for (const text of ['', '0', '0.0', '-1', '.5', '1.', '1e6', 'soon', 'Infinity', '9'.repeat(400)]) t.throws(() => seconds(text), { code: 'commander.invalidArgument' }, JSON.stringify(text));
  t.same([whole(1, 512)('512'), whole(0, 5)('0'), seconds('0.25'), seconds('60')], [512, 0, 0.25, 60]);
  t.throws(() => whole(1, 512)('513'));
  t.equal(pollmode('forward', 'null:', 'null:', '--mode', 'mac', '--eth-peer', '02:00', '--count', '1').status, 1, 'a MAC that is none');
  t.end();
});

t.test('a mistake names the help of the command that it was made in, a subcommand of a subcommand too', t => {
  for (const [words, help] of [[['--nonesuch'], 'pollmode'], [['sweep', '--rounds', '0'], 'pollmode sweep'], [['switch'], 'pollmode switch'], [['switch', 'fdb', '--limit', 'x'], 'pollmode switch fdb'], [['doctor', 'it'], 'pollmode doctor']] as const) {
    const { status, stderr } = pollmode(...words);
    t.equal(status, 1, words.join(' '));
    t.ok(stderr.endsWith(`\n(${help} --help tells what there is)\n`), stderr);
  }
  t.end();
});

t.test('defaults stand in the help as a user would type them', t => {
  for (const words of [['sweep'], ['forward'], ['switch'], ['switch', 'show'], ['bind'], ['broker'], ['doctor']]) t.notMatch(pollmode(...words, '--help').stdout, /(default|choices): *(["[]|\))/, words.join(' '));
  t.match(pollmode('sweep', '--help').stdout, /--paths <list> +of\s+af_xdp,af_packet-ring,raw-socket,[^]*\(default: all\)/);
  t.match(pollmode('forward', '--help').stdout, /--burst <n> .*\(default: 32\)/);
  t.match(pollmode('forward', '--help').stdout, /\(choices: io, mac, macswap,\s+default:\s+io\)/);
  t.end();
});

t.test('figures: the unit that fits', t => {
  t.same([0, 0.5, 1, 9.96, 12.4, 999.4, 999.6, 1234, 1e6, 14.88e6, Infinity].map(packetRate), ['0 pps', '0.5 pps', '1 pps', '10 pps', '12 pps', '999 pps', '1.00 kpps', '1.23 kpps', '1.00 Mpps', '14.9 Mpps', '∞ Tpps']);
  t.same([bitRate(9.41e9), byteCount(60), byteCount(1500), counted(1, 'bridge'), counted(0, 'port')], ['9.41 Gbit/s', '60 B', '1.50 kB', '1 bridge', '0 ports']);
  t.match(pollmode('forward', 'null:', 'null:', '--count', '1', '--quiet').stdout, /^1 packet forwarded in \d+\.\d\d s \([\d.]+ k?pps\)/);
  t.end();
});

t.test('help tells every driver and every option', t => {
  const { status, stdout } = pollmode('forward', '--help');
  t.equal(status, 0);
  for (const driver of drivers) {
    t.ok(stdout.includes(`  ${driver.name}:  ${driver.summary}`), driver.name);
    for (const [name, { help }] of Object.entries(driver.options as Record<string, OptionSpec>)) {
      t.ok(stdout.split('\n').some(line => line.trim().startsWith(name === 'device' ? '(device)' : optionKey(name)) && line.endsWith(help)), `${driver.name} ${name}`);
    }
  }
  for (const option of ['--mode', '--burst', '--count', '--seconds', '--cpu', '--mbufs', '--eth-peer', '--json', '--quiet']) t.ok(stdout.includes(`  ${option}`), option);
  const whole = pollmode('--help').stdout;
  for (const command of ['forward', 'sweep']) t.match(whole, new RegExp(`^  ${command} `, 'm'));
  t.end();
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} ends it with its totals`, async t => {
    const { child, ended } = start(t, 'null:', 'ring:x');
    await once(child.stderr!, 'data'); // the first live line: it runs
    child.kill(signal);
    const { status, stdout, stderr } = await ended;
    t.equal(status, 0);
    t.match(stdout, /^[1-9]\d* packets forwarded in .*\n {2}null: .*\n {2}ring:x .*\n$/);
    t.match(stderr, /^\d+ s {2}rx [\d.]+ [kM]?pps {2}tx [\d.]+ [kM]?pps {2}no mbuf or refused \d+\n/);
  });
}

/** Until so many frames have come, or a minute has passed. */
async function receive(wire: RawWire, count: number): Promise<Uint8Array[]> {
  const got = wire.receive();
  for (const end = performance.now() + 60_000; got.length < count && performance.now() < end; got.push(...wire.receive())) await sleep(10);
  return got;
}

/** Sends one frame every now and then until one comes back: then the child forwards. Returns how many came, when none is under way any more. */
async function echoes(wire: RawWire): Promise<number> {
  let back = 0;
  for (const end = performance.now() + 60_000; back === 0 && performance.now() < end; back = wire.receive().length) {
    await wire.send([frame(60, 1)]);
    await sleep(50);
  }
  const last = frame(61, 2);
  await wire.send([last]);
  for (let got: Uint8Array[] = []; got.at(-1)?.length !== last.length; back += got.length) {
    got = await receive(wire, 1);
    if (got.length === 0) return 0;
  }
  return back;
}

t.test('from an interface into a ring and back, in a lab; killed and started again', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const lab = openLab({ txChecksum: false });
  t.teardown(() => lab.close());
  const path = (end: LabEnd): string => `/proc/${process.pid}/fd/${end.netns}`;
  const wire = withNetns(lab.b.netns, () => new RawWire(lab.b.ifindex));
  t.teardown(() => wire.close());
  const words = [`af_xdp:veth0,netns=${path(lab.a)}`, 'ring:x', '--json'];

  const killed = start(t, ...words);
  t.ok(await echoes(wire) > 0, 'frames come back');
  killed.child.kill('SIGKILL');
  t.equal((await killed.ended).signal, 'SIGKILL');

  const { child, ended } = start(t, ...words);
  let back = await echoes(wire);
  t.ok(back > 0, 'it starts again after a kill -9');
  const frames = Array.from({ length: 200 }, (_, i) => frame(60 + i, i));
  await wire.send(frames);
  const echoed = await receive(wire, frames.length);
  t.same(echoed, frames, 'each as it was sent');
  back += echoed.length;
  child.kill('SIGINT');
  const { status, stdout, stderr } = await ended;
  t.same([status, stderr], [0, '']);
  const { forwarded, dropped, ports: [interface_, ring] } = JSON.parse(stdout) as ForwardTotals;
  t.same([interface_!.rxPackets, interface_!.txPackets, ring!.rxPackets, ring!.txPackets], Array(4).fill(back));
  t.same([forwarded, dropped], [2 * back, 0]);
});

t.test('a capture with frames that the interface cannot send is forwarded to its end', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  const lab = openLab({ txChecksum: false });
  t.teardown(() => lab.close());
  const wire = withNetns(lab.b.netns, () => new RawWire(lab.b.ifindex));
  t.teardown(() => wire.close());
  const file = join(t.testdir({}), 'mixed.pcap');
  const [good, also] = [frame(60, 1), frame(1514, 2)];
  const writer = open([`pcap:,tx=${escapeValue(file)}`]);
  sendBy(writer, writer.ports[0]!, [frame(13, 3), good, frame(1700, 4), frame(5, 5), also]);
  writer.close();
  for (const driver of ['af_xdp', 'af_packet']) {
    const { forwarded, dropped, ports: [source, sink] } = forward(`pcap:${escapeValue(file)}`, `${driver}:veth0,netns=/proc/${process.pid}/fd/${lab.a.netns}`);
    t.equal(source!.rxPackets, 5, driver);
    t.match(sink, { txPackets: 2, txBytes: 1574, txRefused: 0 });
    const { tx_bad_frame: bad, tx_too_long: long } = sink!.xstats;
    t.equal((bad ?? 0) + (long ?? 0), 3, 'the others have a name');
    t.same([forwarded, dropped], [2, 3], 'and are not said to be forwarded');
    t.same(await receive(wire, 2), [good, also]);
  }
});
