/** TCP of Linux through `pollmode forward`, between two NICs of ours: each host is a network namespace behind its own wire. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { bindToVfio, restore, setVirtualFunctions } from '../../../lib/pci/bind.js';
import { e1000e, e1000eToo, igb, virtioPacked, virtioSplit, type Wire } from '../devices.js';
import { FRAME_MAC, PfServer, run, TOKEN } from './functions.js';
import { peerOf, until } from './wire.js';

const COMMAND = fileURLToPath(new URL('../../../lib/cli/main.js', import.meta.url));
const ADDRESSES = ['198.51.100.1', '198.51.100.2'] as const;
/** What iperf3 sends: a time's worth, or so much however long it takes. */
const AMOUNT = process.env['POLLMODE_LONG'] === '1' ? ['-t', '30'] : ['-n', '4M'];

/** Linux's end of a wire, alone in a namespace with an address. */
function host(t: Test, name: string, wire: Pick<Wire, 'peerMac'>, address: string): void {
  const link = peerOf(wire);
  run('ip', 'netns', 'add', name);
  t.teardown(() => run('ip', 'netns', 'del', name)); // its NIC comes back
  run('ip', 'link', 'set', link.name, 'netns', name);
  run('ip', '-n', name, 'addr', 'add', `${address}/24`, 'dev', link.name);
  run('ip', '-n', name, 'link', 'set', link.name, 'up');
}

async function carriesTcp(t: Test, devices: readonly [string, string], wires: readonly [Pick<Wire, 'peerMac'>, Pick<Wire, 'peerMac'>]): Promise<void> {
  host(t, 'left', wires[0], ADDRESSES[0]);
  host(t, 'right', wires[1], ADDRESSES[1]);
  const forward = spawn(process.execPath, [COMMAND, 'forward', ...devices, '--json', '--quiet'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let totals = '';
  forward.stdout.on('data', (chunk: Buffer) => { totals += String(chunk); });
  const ended = once(forward, 'close') as Promise<[number]>;
  t.teardown(() => { forward.kill('SIGKILL'); });
  const inLeft = (...words: string[]): { status: number | null; stdout: string } => spawnSync('ip', ['netns', 'exec', 'left', ...words], { encoding: 'utf8', timeout: 90_000 });
  t.ok(await until(() => inLeft('/bin/busybox', 'ping', '-c', '1', '-W', '2', ADDRESSES[1]).status === 0, 40), 'a ping comes back');
  const server = spawn('ip', ['netns', 'exec', 'right', 'iperf3', '-s', '-1'], { stdio: 'ignore' });
  t.teardown(() => { server.kill('SIGKILL'); });
  let result: { end?: { sum_received?: { bytes: number } } } = {};
  await until(() => {
    result = JSON.parse(inLeft('iperf3', '-c', ADDRESSES[1], ...AMOUNT, '-J').stdout) as typeof result;
    return result.end?.sum_received !== undefined;
  });
  const { bytes = 0 } = result.end?.sum_received ?? {};
  t.ok(bytes > 1 << 20, `TCP carried ${bytes} bytes`);
  forward.kill('SIGINT');
  t.equal((await ended)[0], 0, 'Ctrl-C ends it');
  t.match(totals, /"/, 'with its totals');
}

function pair(name: string, one: Wire, other: Wire): void {
  t.test(name, async t => {
    for (const { nic } of [one, other]) bindToVfio(nic, { force: true });
    t.teardown(() => { for (const { nic } of [one, other]) restore(nic, { force: true }); });
    await carriesTcp(t, [`vfio:${one.nic},promiscuous`, `vfio:${other.nic},promiscuous`], [one, other]);
  });
}

pair('82574L and 82576', e1000e, igb);
pair('virtio-net, split and packed', virtioSplit, virtioPacked);
t.test('a virtual function of the 82576 and an 82574L', async t => {
  const server = await PfServer.start(1);
  bindToVfio(e1000eToo.nic, { force: true });
  t.teardown(async () => {
    await server.stop();
    setVirtualFunctions(igb.nic, 0, { force: true });
    for (const nic of [igb.nic, e1000eToo.nic]) restore(nic, { force: true });
  });
  // A virtual function takes what is for its own address, and bridges nothing: it gets the far host's.
  await server.set(0, { mac: FRAME_MAC, trust: true });
  await carriesTcp(t, [`vfio:${server.functions[0]!},vf_token=${TOKEN},promiscuous`, `vfio:${e1000eToo.nic},promiscuous`], [igb, e1000eToo]);
});
