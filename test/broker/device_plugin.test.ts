/**
 * The handshake of Kubernetes' AF_XDP device plugin, against a server of our own: it keeps to what the plugin's
 * repository publishes (constants/constants.go and internal/udsserver/udsserver.go of version 0.1), and knows nothing of
 * the client.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test as Tap } from 'tap';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab, type Lab } from '../../lib/lab/veth.js';
import { open } from '../../lib/port/host.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { startChild } from '../native/child.js';
import { RawSocket, frame, receiveSome, sendAll } from '../port/drivers/kernel_helper.js';
import { Stage, Talker, tries } from './broker_helper.js';
import { FakeServer, type Step } from './server_helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');

/** The plugin's side: a pod's name, and a device with its XSKMAP. It serves one connection, as the plugin does. */
class Plugin {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'pollmode-plugin-'));
  readonly #talker: Talker;

  private constructor(lab: Lab, pod: string, device: string) {
    chmodSync(this.#directory, 0o755);
    this.path = join(this.#directory, 'afxdp.sock');
    this.#talker = new Talker(withNetns(lab.a.netns, () => startChild(plugin(this.path, pod, device))));
  }

  /** Ready to be asked; it ends with the test. */
  static async start(t: Tap, lab: Lab, pod: string, device = 'veth0'): Promise<Plugin> {
    const plugin = new Plugin(lab, pod, device);
    t.teardown(() => plugin.close());
    await plugin.#talker.line();
    chmodSync(plugin.path, 0o666);
    return plugin;
  }

  /** Ends it; returns the requests that it got. */
  async close(): Promise<string[]> {
    this.#talker.child.stdin!.end();
    this.#talker.child.kill('SIGTERM');
    await this.#talker.ended;
    rmSync(this.#directory, { recursive: true, force: true });
    return this.#talker.lines.slice(1);
  }
}

function plugin(path: string, pod: string, device: string): string {
  return `
const { binding } = await import(LIB + 'binding.js');
const { unixAddress } = await import(LIB + 'kernel/unix.js');
const { steer } = await import(LIB + 'port/drivers/af_xdp/program.js');
const { readLink } = await import(LIB + 'kernel/link.js');
const b = binding();
const devices = { [${JSON.stringify(device)}]: steer('plugin', readLink('veth0'), { mode: 'auto' }).map.fd };
const listener = b.socket(1, 5, 0);
if (b.bind(listener, unixAddress(${JSON.stringify(path)})) < 0 || b.listen(listener, 1) < 0) throw new Error('no socket');
console.log('ready');
const client = b.accept(listener, 0);
const read = () => {
  const into = new Uint8Array(64);
  const got = b.recv(client, into, 0);
  const text = got > 0 ? new TextDecoder().decode(into.subarray(0, got)) : undefined;
  if (text !== undefined) console.log(text);
  return text;
};
const write = (text, fd) => b.sendFds(client, new TextEncoder().encode(text), Int32Array.from(fd === undefined ? [] : [fd]), 0);
const first = read();
let connected = false;
if (first?.includes('/connect')) {
  const words = first.split(',');
  connected = words.length === 2 && words[0] === '/connect' && words[1].replaceAll(' ', '') === ${JSON.stringify(pod)};
  write(connected ? '/host_ok' : '/host_nak');
}
while (connected) {
  const request = read();
  if (request === undefined) break;
  if (request.includes('/xsk_map_fd')) {
    const words = request.split(',');
    const fd = words.length === 2 ? devices[words[1].replaceAll(' ', '')] : undefined;
    write(words.length !== 2 || words[0] !== '/xsk_map_fd' ? '/nak' : fd === undefined ? '/fd_nak' : '/fd_ack', fd);
  } else if (request === '/version') write('0.1');
  else if (request === '/fin') { write('/fin_ack'); connected = false; }
  else write('/nak');
}
b.close(client);
b.close(listener);
// The program stays on the interface for as long as the plugin does.
setInterval(() => {}, 1000);
`;
}

function device({ a }: Lab, path: string): string {
  return `af_xdp:veth0,netns=/proc/self/fd/${a.netns},rx_ring=64,tx_ring=64,device_plugin=${path}`;
}

t.test('a port with the plugin\'s XSKMAP', rights, async t => {
  const lab = openLab();
  t.teardown(() => lab.close());
  const plugin = await Plugin.start(t, lab, hostname());
  const host = open([device(lab, plugin.path)], { mbufs: 256 });
  const [port] = host.ports;
  t.match(port!.capabilities.mode, /^native \(program of the device plugin\), copy/);
  const raw = new RawSocket(lab.b);
  const lengths = [60, 128, 1514];
  const sent = lengths.map((length, i) => frame(lab.a, lab.b, i, length));
  sendAll(host, port!, sent);
  const out: Uint8Array[] = [];
  for (const end = performance.now() + 60_000; out.length < sent.length && performance.now() < end; await sleep(10)) out.push(...raw.receive());
  t.same(out, sent);
  const back = lengths.map((length, i) => frame(lab.b, lab.a, 10 + i, length));
  for (const bytes of back) raw.send(bytes);
  t.same(receiveSome(host, port!, 3).map(({ bytes }) => bytes), back);
  raw.close();
  host.close();
  t.match(host.pool.audit(), { free: 256, total: 256 });
  t.same(await plugin.close(), [`/connect,${hostname()}`, '/version', '/xsk_map_fd,veth0', '/fin']);
});

t.test('with CAP_NET_RAW and nothing else, as a pod has', { skip: rights.skip || needs('CAP_SETUID').skip }, async t => {
  const lab = openLab();
  t.teardown(() => lab.close());
  const plugin = await Plugin.start(t, lab, hostname());
  const stage = new Stage();
  t.teardown(() => stage.remove());
  const client = await stage.client(tries([`af_xdp:veth0,rx_ring=64,tx_ring=64,device_plugin=${plugin.path}`]), ['net_raw'], lab.a.netns);
  t.match(client.said, { mode: /^native \(program of the device plugin\)/ });
});

t.test('what the plugin refuses', rights, async t => {
  const lab = openLab();
  t.teardown(() => lab.close());
  const other = await Plugin.start(t, lab, 'another-pod');
  t.equal(codeThrown(() => open([device(lab, other.path)], { mbufs: 256 })), 'ERIGHTS', 'a pod of another name');
  t.same(await other.close(), [`/connect,${hostname()}`]);
  const without = await Plugin.start(t, lab, hostname(), 'ens9');
  t.equal(codeThrown(() => open([device(lab, without.path)], { mbufs: 256 })), 'ENOTFOUND', 'another device');
  t.equal(codeThrown(() => open([device(lab, '/nowhere/afxdp.sock')], { mbufs: 256 })), 'ENOTFOUND', 'no plugin');
  await without.close();
  t.equal(codeThrown(() => open([device(lab, '/nowhere/afxdp.sock')], { mbufs: 256 })), 'EOPTION', 'no program on the interface');
});

const CONNECTED: readonly Step[] = [{ text: '/host_ok' }, { text: '0.1' }];

t.test('a plugin that does not keep to it', rights, async t => {
  const lab = openLab();
  t.teardown(() => lab.close());
  // Its program is on the interface, and it is not asked.
  await Plugin.start(t, lab, hostname());
  const cases: readonly (readonly [what: string, wanted: string, steps: readonly Step[]])[] = [
    ['the end', 'ENOANSWER', [{ close: true }]],
    ['/nak', 'EFORMAT', [{ text: '/nak' }]],
    ['/error', 'EFORMAT', [{ text: '/error' }]],
    ['junk', 'EFORMAT', [{ bytes: [0xff, 0, 0xff] }]],
    ['/host_ok with a NUL behind it', 'EFORMAT', [{ text: '/host_ok\0' }]],
    ['too long', 'EFORMAT', [{ text: `/host_ok${' '.repeat(64)}` }]],
    ['the answers in another order', 'EFORMAT', [{ text: '/fd_ack', fds: ['xskmap'] }]],
    ['a descriptor beside /host_ok', 'EFORMAT', [{ text: '/host_ok', fds: ['xskmap'] }]],
    ['a version that is none', 'EFORMAT', [{ text: '/host_ok' }, { text: '/fin_ack' }]],
    ['/fd_nak, and a map beside it', 'ENOTFOUND', [...CONNECTED, { text: '/fd_nak', fds: ['xskmap'] }]],
    ['/fd_ack without the map', 'EFORMAT', [...CONNECTED, { text: '/fd_ack' }]],
    ['/fd_ack with two', 'EFORMAT', [...CONNECTED, { text: '/fd_ack', fds: ['xskmap', 'xskmap'] }]],
    ['/fd_ack with a file', 'EFORMAT', [...CONNECTED, { text: '/fd_ack', fds: ['file'] }]],
    ['/fd_ack with another map', 'EFORMAT', [...CONNECTED, { text: '/fd_ack', fds: ['array'] }]],
    ['/fd_ack with a socket', 'EFORMAT', [...CONNECTED, { text: '/fd_ack', fds: ['xdp'] }]],
    ['an end without /fin_ack', 'ENOANSWER', [...CONNECTED, { text: '/fd_ack', fds: ['xskmap'] }, { close: true }]],
  ];
  const server = await FakeServer.start(lab.a.netns, cases.map(([, , steps]) => steps));
  t.teardown(() => server.close());
  const before = readdirSync('/proc/self/fd').length;
  for (const [what, wanted] of cases) {
    t.equal(codeThrown(() => open([device(lab, server.path)], { mbufs: 256 })), wanted, what);
    t.equal(readdirSync('/proc/self/fd').length, before, `${what}: no descriptor is left`);
  }
});

t.test('options that cannot be together', async (t: Tap) => {
  for (const options of ['broker=/a,device_plugin=/b', 'broker=/a,xsk_map=/b', 'device_plugin=/a,program=/b,xsk_map=/c', 'take=map', 'take=socket,device_plugin=/a', 'broker=/a,queues=2', 'broker=/a,channels=1', 'device_plugin=/a,queues=2', 'device_plugin=/a,channels=1']) {
    t.equal(codeThrown(() => open([`af_xdp:veth0,${options}`])), 'EOPTION', options);
  }
  t.equal(codeThrown(() => open(['af_xdp:veth0,broker=/a,take=both'])), 'EDEVICE');
  t.equal(codeThrown(() => open([`af_xdp:veth0,rx_ring=64,tx_ring=64,broker=/${'a'.repeat(200)}`], { mbufs: 256 })), 'EOPTION', 'a path that fits into no address');
});
