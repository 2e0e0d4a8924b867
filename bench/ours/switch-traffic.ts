/**
 * The two machines behind a switch, on one CPU: our virtio_user ports at the sockets --a and --b. a sends all it can to b:
 * UDP over IPv4, --flows pairs of addresses in turn; b only takes, and counts. The same program for whatever switch there is.
 */
import { parseArgs } from 'node:util';
import * as layout from '../../lib/mbuf/layout.js';
import { open } from '../../lib/port/host.js';
import { pin, print, WARM_UP_SECONDS } from './common.js';

const { HANDLE_SHIFT, HEADROOM } = layout;
const { values } = parseArgs({ options: {
  a: { type: 'string', default: '' }, b: { type: 'string', default: '' }, flows: { type: 'string', default: '1' }, size: { type: 'string', default: '60' },
  seconds: { type: 'string', default: '1' }, cpu: { type: 'string', default: '-1' }, 'other-cpu': { type: 'string' },
} });
const [flows, size, seconds] = [Number(values.flows), Number(values.size), Number(values.seconds)];
pin(Number(values.cpu));
const host = open([`virtio_user:${values.a},queue_size=1024`, `virtio_user:${values.b},queue_size=1024`, `null:size=${size + 4}`], { mbufs: 8192 });
const [a, b, source] = [host.ports[0]!, host.ports[1]!, host.ports[2]!];
const [out, back] = [host.burst(32), host.burst(64)];
const { mbufs, pool } = host;
const { u32 } = host.arena;
/** 10,000 flows: from each of a hundred stations to each of a hundred. */
const side = Math.ceil(Math.sqrt(flows));
let flow = 0;

/** Ethernet, IPv4, UDP to port 9; the addresses are written for each. */
function template(from: number, to: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(bytes);
  frame.set([2, 0, 0, to, 0, 0, 2, 0, 0, from, 0, 0, 8, 0, 0x45, 0, (bytes - 14) >>> 8, (bytes - 14) & 255, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, from, 1, 10, 0, to, 1, 0x9c, 0x40, 0, 9, 0, bytes - 34]);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame[at]! * 256 + frame[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame[24] = (~sum >>> 8) & 255;
  frame[25] = ~sum & 255;
  return frame;
}

/** Every buffer of the pool has the frame already: what is sent comes back as it was, but for its addresses. */
function fillBuffers(frame: Uint8Array): void {
  const all = host.burst(512);
  const held: number[] = [];
  for (let got = pool.alloc(all, 512); got > 0; got = pool.alloc(all, 512)) {
    for (let i = 0; i < got; i++) {
      mbufs.copyIn(all.handles[i]!, frame);
      held.push(all.handles[i]!);
    }
  }
  while (held.length > 0) {
    const part = held.splice(0, 512);
    all.handles.set(part);
    pool.free(all, 0, part.length);
  }
}

/** Each station at b says something, so that the switch learns of it. */
function teach(): void {
  const frame = template(1, 0, 60);
  for (let station = 0; station < side; station++) {
    if (pool.alloc(back, 1) === 0) throw new Error('the pool is dry');
    frame[10] = station >>> 8;
    frame[11] = station & 255;
    mbufs.copyIn(back.handles[0]!, frame);
    const taken = b.tx[0]!.txBurst(back, 1);
    if (taken === 0) pool.free(back, 0, 1);
    drain();
  }
}

function drain(): number {
  const got = a.rx[0]!.rxBurst(back);
  if (got > 0) pool.free(back, 0, got);
  return got;
}

let [have, sent] = [0, 0];

/** A burst sent, and what has come taken. Returns how many came. */
function turn(): number {
  if (have === 0) {
    have = source.rx[0]!.rxBurst(out); // mbufs with their lengths written, none of which costs any JavaScript
    for (let i = 0; i < have; i++) address(out.handles[i]!);
  }
  const taken = a.tx[0]!.txBurst(out, have);
  if (taken > 0 && taken < have) out.keep(taken, have);
  have -= taken;
  sent += taken;
  let got = 0;
  for (let bursts = 0; bursts < 2; bursts++) {
    const came = b.rx[0]!.rxBurst(back);
    if (came === 0) break;
    pool.free(back, 0, came);
    got += came;
  }
  return got;
}

/** Writes both MACs, three words: the buffer may have been a frame of the other side. */
function address(handle: number): void {
  const at = ((handle << HANDLE_SHIFT) + HEADROOM) >>> 2;
  flow = flow + 1 >= flows ? 0 : flow + 1;
  const to = flow % side;
  const from = (flow - to) / side;
  u32[at] = 0x01000002;
  u32[at + 1] = 0x00020000 | (to >>> 8) | ((to & 255) << 8);
  u32[at + 2] = ((from >>> 8) << 16) | ((from & 255) << 24);
}

function spin(milliseconds: number): { packets: number; seconds: number } {
  const begun = performance.now();
  for (let packets = 0; ;) {
    for (let i = 0; i < 16; i++) packets += turn();
    const now = performance.now();
    if (now - begun > milliseconds) return { packets, seconds: (now - begun) / 1000 };
  }
}

process.stdout.write('waiting\n');
while (![a, b].every(port => port.link!.read().up)) await new Promise(resolve => { setTimeout(resolve, 2); });
fillBuffers(template(0, 1, size));
// A switch may serve a port a while after it said so.
for (let tries = 0, came = 0; came === 0 && tries < 100; tries++) {
  teach();
  came = spin(50).packets;
  await new Promise(resolve => { setTimeout(resolve, 10); });
}
teach();
spin(WARM_UP_SECONDS * 1000);
drain();
process.stdout.write('measuring\n');
sent = 0;
const result = spin(seconds * 1000);
print({ ...result, sent, flooded: drain() });
host.close();
