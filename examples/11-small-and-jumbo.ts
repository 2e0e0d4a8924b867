/**
 * Lesson 11: small packets against jumbo frames. Run it: node dist/examples/11-small-and-jumbo.js
 *
 * You will learn
 * - that work on a packet has two prices, one for each packet and one for each byte, and who pays which;
 * - why small packets are what a forwarder is measured with, and what jumbo frames are for;
 * - that a frame longer than a buffer goes as a chain of buffers, and what that costs.
 *
 * The same bytes go as frames of 64, 1518 and 9018 bytes (with FCS, as RFC 2544 counts) over a `ring:`, which hands over
 * handles, and into a virtual machine and out again (`virtio_user:` to `vhost:`), where each byte is copied once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Chains, open, type Port } from '../lib/index.js';

const MEGABYTES = 64;
const FCS = 4;
/** What a frame takes on the wire besides itself: preamble, start of frame, the gap behind it (IEEE 802.3). */
const WIRE_EXTRA = 20;
const SIZES = [64, 1518, 9018];

const folder = mkdtempSync(join(tmpdir(), 'pollmode-lesson-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const socket = join(folder, 'vm.sock');
const host = open(['ring:wire', `vhost:${socket},guest_memory=64,mtu=9000`, `virtio_user:${socket},mtu=9000`], { mbufs: 4096 });
const [wire, machine, card] = host.ports as [Port, Port, Port];
const { mbufs, pool } = host;
const chains = new Chains(pool);
const burst = host.burst(16);

interface Result { readonly frames: number; readonly segments: number; readonly nanoseconds: number }

/** Sends frames of this size until so many megabytes have arrived. The frames themselves are made before the clock runs. */
function move(from: Port, to: Port, size: number, megabytes: number): Result {
  const [rx, tx] = [to.rx[0]!, from.tx[0]!];
  const bytes = new Uint8Array(size - FCS);
  let [frames, segments, nanoseconds, got] = [0, 1, 0, 0];
  for (let idle = 0; frames * size < megabytes * 1e6 && idle < 1000; idle = got === 0 ? idle + 1 : 0) {
    const made = pool.alloc(burst, burst.capacity);
    for (let i = 0; i < made; i++) chains.copyIn(burst.handles[i]!, bytes);
    const started = process.hrtime();
    const sent = tx.txBurst(burst, made);
    pool.free(burst, sent, made);
    got = rx.rxBurst(burst);
    const [seconds, rest] = process.hrtime(started);
    nanoseconds += seconds * 1e9 + rest;
    for (let i = 0; i < got; i++) if (mbufs.pktLen(burst.handles[i]!) !== size - FCS) throw new Error('a frame came with another length');
    if (got > 0) segments = mbufs.segments(burst.handles[0]!);
    pool.free(burst, 0, got);
    frames += got;
  }
  return { frames, segments, nanoseconds };
}

function table(what: string, from: Port, to: Port): Result[] {
  console.log(`\n${what}\n frame     frames  buffers   ns a frame   ns a KiB   million frames/s   Gbit/s`);
  return SIZES.map(size => {
    move(from, to, size, 4); // V8 compiles what it has seen often
    const result = move(from, to, size, MEGABYTES);
    const { frames, segments, nanoseconds } = result;
    const [each, gigabits] = [nanoseconds / frames, frames * size * 8 / nanoseconds];
    console.log(`${String(size).padStart(6)} ${String(frames).padStart(10)} ${String(segments).padStart(8)} ${each.toFixed(0).padStart(12)} ${(each / size * 1024).toFixed(1).padStart(10)} ${(1000 / each).toFixed(2).padStart(18)} ${gigabits.toFixed(1).padStart(8)}  ${'▇'.repeat(Math.min(40, Math.round(gigabits / 4)))}`);
    return result;
  });
}

console.log(`${MEGABYTES} megabytes, in bursts of ${burst.capacity}. What a line gives a program for one frame, in ns:`);
for (const gbit of [1, 10, 100]) console.log(`  ${String(gbit).padStart(3)} Gbit/s: ${SIZES.map(size => `${((size + WIRE_EXTRA) * 8 / gbit).toFixed(gbit > 10 ? 1 : 0)} for ${size} bytes`).join(', ')}`);

table('a ring: handles go over, and the bytes stay where they are. A frame is a price, a byte is none', wire, wire);
const [small, usual] = table('out of a virtual machine: each byte is copied once', card, machine) as [Result, Result, Result];

// Two sizes, two equations: what of it is for the frame, and what for its bytes?
const [one, other] = [small, usual].map(({ nanoseconds, frames }) => nanoseconds / frames) as [number, number];
const byte = (other - one) / (SIZES[1]! - SIZES[0]!);
console.log(`\nthere a frame costs ${(one - SIZES[0]! * byte).toFixed(0)} ns and a KiB of it ${(byte * 1024).toFixed(0)} ns: in a frame of 64 bytes nearly all is for the frame`);
chains.close();
host.close();
