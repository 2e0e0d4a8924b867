/**
 * Lesson 14: a switch for virtual machines, and a tunnel. Run it: node dist/examples/14-a-switch.js
 *
 * You will learn
 * - how a virtual machine is plugged into a switch in user space: vhost-user, a socket for the talk, shared memory for the frames;
 * - how a bridge learns where each address is, and what it does with a frame for one that it does not know;
 * - how VXLAN (RFC 7348) carries frames between bridges in UDP, and how a cache of flows makes the next packet cheap.
 *
 *   vm1 --- vhost -+- left -- tunnel ---- the wire ---- tunnel -- right --- vhost --- vm3
 *   vm2 --- vhost -+          192.0.2.1                 192.0.2.2
 *
 * The machines are `virtio_user:` ports of this program, and it carries the wire itself, to show what passes there.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, describe, devicesOf, open, Switch, type Port, type SwitchConfig } from '../lib/index.js';

const folder = mkdtempSync(join(tmpdir(), 'pollmode-lesson-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const socket = (vm: number): string => join(folder, `vm${vm}.sock`);

const config: SwitchConfig = { bridges: {
  left: { ports: {
    vm1: { device: `vhost:${socket(1)},guest_memory=64` },
    vm2: { device: `vhost:${socket(2)},guest_memory=64` },
    tunnel: { vxlan: { vni: 42, local: '192.0.2.1', remotes: ['192.0.2.2'], underlay: { device: 'ring:to-left,tx=from-left', mac: '02:00:00:00:aa:01' } } },
  } },
  right: { ports: {
    vm3: { device: `vhost:${socket(3)},guest_memory=64` },
    tunnel: { vxlan: { vni: 42, local: '192.0.2.2', remotes: ['192.0.2.1'], underlay: { device: 'ring:to-right,tx=from-right', mac: '02:00:00:00:aa:02' } } },
  } },
} };
const devices = devicesOf(config);
const host = open([...devices, 'ring:from-left,tx=to-right', 'ring:from-right,tx=to-left', ...[1, 2, 3].map(vm => `virtio_user:${socket(vm)}`)], { mbufs: 8192 });
const [toRight, toLeft, ...machines] = host.ports.slice(devices.length) as [Port, Port, ...Port[]];
const { mbufs, pool } = host;
const burst = host.burst();
const sw = new Switch(host, config);

const macOf = (vm: number): string => `02:00:00:00:00:0${vm}`;
/** What passes on the wire, and what the machines get, is told while this is so. */
let telling = true;

/** Machine `from` sends so many frames to machine `to`. */
function send(from: number, to: number, count = 1): void {
  pool.alloc(burst, count);
  const frame = build.frame(build.ethernet({ source: macOf(from), destination: macOf(to) }), build.ipv4({ source: `10.0.0.${from}`, destination: `10.0.0.${to}` }), build.udp({ sourcePort: 1000, destinationPort: 2000 }), new Uint8Array(18));
  for (let i = 0; i < count; i++) mbufs.copyIn(burst.handles[i]!, frame);
  const sent = machines[from - 1]!.tx[0]!.txBurst(burst, count);
  pool.free(burst, sent, count);
}

/** Everybody's turn, over and over, until nothing moves any more. Returns how many frames machine 3 got. */
function settle(): number {
  let [quiet, got3] = [0, 0];
  while (quiet < 100) {
    let moved = sw.poll();
    for (const wire of [toRight, toLeft]) {
      const got = wire.rx[0]!.rxBurst(burst);
      for (let i = 0; i < got && telling; i++) console.log(`  on the wire: ${describe(mbufs, burst.handles[i]!)}`);
      pool.free(burst, wire.tx[0]!.txBurst(burst, got), got);
      moved += got;
    }
    machines.forEach((machine, index) => {
      const got = machine.rx[0]!.rxBurst(burst);
      for (let i = 0; i < got && telling; i++) console.log(`  vm${index + 1} gets:    ${describe(mbufs, burst.handles[i]!)}`);
      pool.free(burst, 0, got);
      moved += got;
      if (index === 2) got3 += got;
    });
    quiet = moved > 0 ? 0 : quiet + 1;
  }
  return got3;
}

function showAddresses(): void {
  for (const { bridge, mac, port, remote } of sw.fdb()) console.log(`  ${bridge.padEnd(6)} ${mac}  is at ${port}${remote === undefined ? '' : ` (${remote})`}`);
}

console.log('vm1 sends to vm3. Nobody knows where that is, so it is flooded; and the tunnel\'s ends ask for each other first');
send(1, 3);
settle();
console.log('what the bridges know now:');
showAddresses();

console.log('\nvm3 answers. Where vm1 is they have learned: vm2 sees nothing of it');
send(3, 1);
settle();
showAddresses();

telling = false;
const before = sw.show();
let arrived = 0;
for (let round = 0; round < 100; round++) {
  send(1, 3, 20);
  arrived += settle();
}
const after = sw.show();
console.log(`\n2000 more from vm1 to vm3: ${arrived} arrived. The switch polled ${after.packets - before.packets} packets, those of the tunnel too, and had to think about ${after.slow - before.slow} of them`);
console.log('(the first burst on either side); the others found their flow in the cache:');
for (const { port, source, destination, packets, actions } of sw.flows()) console.log(`  ${port.padEnd(16)} ${source} > ${destination}  ${String(packets).padStart(5)} packets  ${actions.join(', ')}`);
sw.close();
host.close();
