/**
 * Lesson 4: descriptor rings and DMA. Run it: node dist/examples/04-descriptor-rings.js
 *
 * You will learn
 * - that driver and NIC talk by two rings in memory: descriptors say where a buffer is, and come back saying what is in it;
 * - that the driver moves a tail and the device a head, and that a frame that finds no descriptor is dropped;
 * - that a device has addresses of its own, which the IOMMU translates or refuses: here an offset and a constant.
 *
 * The driver is ours for Intel's 82576, its own rxBurst and txBurst at work on a ring of 8. The NIC is played by this
 * program: what it does below, silicon does in a real one. So this lesson looks behind the public API.
 */
import { build, describe, open, swapMacs } from '../lib/index.js';
import { burstFunctions } from '../lib/burst/module.js';
import * as intel from '../lib/port/drivers/vfio/intel/layout.js';
import { IntelRxQueue, IntelTxQueue } from '../lib/port/drivers/vfio/intel/queues.js';
import { QueueState } from '../lib/port/queue.js';

const SIZE = 8;
/** What is added to an offset in the arena to make the device's address of it (IOVA). The upper halves are all alike then: 1. */
const IOVA = 2 ** 32;

const host = open([], { mbufs: 64 });
const { arena, pool, mbufs } = host;
const { u8, u32 } = arena;
const hex = (value: number): string => `0x${value.toString(16)}`;

// Memory for the rings (16 bytes a descriptor), and what the device cannot see: which mbuf stands behind each descriptor.
const rings = arena.reserve('rings', 4096, { align: 4096 });
const [rxRing, txRing] = [rings.offset, rings.offset + SIZE * 16];
/** The NIC's registers: where the driver writes its tails. The heads are inside of the NIC. */
const registers = arena.reserve('registers', 64);
const tail = { rx: registers.offset, tx: registers.offset + 4 };

function makeQueue(direction: 'rx' | 'tx', ring: number, own: readonly (readonly [number, number])[]): QueueState {
  const state = new QueueState({ arena, pool, number: 0, device: 'lesson:' }, direction, 0);
  const { INTEL_RING, INTEL_TAIL, INTEL_SIDE, INTEL_MASK, INTEL_IOVA_HIGH, INTEL_POOL, INTEL_POOL_BYTES, INTEL_BUFFER_MASK, INTEL_MOST } = intel;
  const fields = [[INTEL_RING, ring], [INTEL_TAIL, tail[direction]], [INTEL_SIDE, arena.reserve(`side ${direction}`, SIZE * 4).offset], [INTEL_MASK, SIZE - 1],
    [INTEL_IOVA_HIGH, IOVA / 2 ** 32], [INTEL_POOL, pool.buffers.offset], [INTEL_POOL_BYTES, pool.size * pool.bufferSize], [INTEL_BUFFER_MASK, pool.bufferSize - 1], [INTEL_MOST, 1518], ...own] as const;
  for (const [field, value] of fields) state.set(field, value);
  return state;
}
const rxState = makeQueue('rx', rxRing, [[intel.INTEL_SEGMENT, 1518], [intel.INTEL_ERRORS, intel.RXD_ERRORS]]);
const txState = makeQueue('tx', txRing, [[intel.INTEL_LASTS, arena.reserve('lasts', SIZE * 4).offset], [intel.INTEL_COMMAND, intel.TXD_IFCS | intel.TXD_DEXT | intel.TXD_DATA_82576],
  [intel.INTEL_PAYLOAD, 1 << intel.TXD_PAYLEN_SHIFT], [intel.INTEL_CONTEXT_KIND, intel.INTEL_82576], [intel.INTEL_MOST_SEGMENTS, 8]]);

/** The IOMMU: what was mapped for the device when the port was opened, and nothing else. Returns where that is in the arena. */
const mapped = [rings, pool.buffers];
function dma(iova: number, bytes: number): number {
  const offset = iova - IOVA;
  if (mapped.some(({ offset: start, length }) => offset >= start && offset + bytes <= start + length)) return offset;
  throw new Error(`IOMMU fault: the device may not reach ${hex(iova)}`);
}

const nic = {
  rxHead: 0, txHead: 0, dropped: 0,
  /** The 16 bytes of a descriptor, as words. */
  read(ring: number, slot: number): Uint32Array {
    const at = dma(IOVA + ring + slot * 16, 16) / 4;
    return u32.subarray(at, at + 4);
  },
  /** A frame comes in by the wire. */
  receive(frame: Uint8Array): void {
    if (nic.rxHead === u32[tail.rx / 4]) return void nic.dropped++;
    const words = nic.read(rxRing, nic.rxHead);
    u8.set(frame, dma(words[1]! * 2 ** 32 + words[0]!, frame.length));
    words.set([0, 0]); // RSS type and hash: none
    words[3] = frame.length;
    Atomics.store(words, 2, intel.RXD_DD | intel.RXD_EOP); // last: who sees "descriptor done" must see all the rest
    nic.rxHead = (nic.rxHead + 1) % SIZE;
  },
  /** The tail has moved: sends what is before it. */
  transmit(): void {
    for (; nic.txHead !== u32[tail.tx / 4]; nic.txHead = (nic.txHead + 1) % SIZE) {
      const words = nic.read(txRing, nic.txHead);
      const [length, report] = [words[2]! & 0xffff, (words[2]! & intel.TXD_RS) !== 0];
      const at = dma(words[1]! * 2 ** 32 + words[0]!, length);
      console.log(`  the NIC reads ${length} bytes at ${hex(IOVA + at)}, for ${[...u8.subarray(at, at + 6)].map(byte => byte.toString(16).padStart(2, '0')).join(':')}${report ? ', and reports' : ''}`);
      if (report) words[3]! |= intel.TXD_DD;
    }
  },
};

function show(what: string): void {
  console.log(`\n${what}`);
  for (let slot = 0; slot < SIZE; slot++) {
    const words = nic.read(rxRing, slot);
    const given = (slot - nic.rxHead + SIZE) % SIZE < (u32[tail.rx / 4]! - nic.rxHead + SIZE) % SIZE;
    const says = given ? `buffer at ${hex(words[1]! * 2 ** 32 + words[0]!)}` : (words[2]! & intel.RXD_DD) !== 0 ? `done, ${words[3]! & 0xffff} bytes` : '-';
    const marks = `${slot === nic.rxHead ? ' <- head' : ''}${slot === u32[tail.rx / 4] ? ' <- tail' : ''}`;
    console.log(`  ${slot}  ${given ? 'device\'s' : 'driver\'s'}  ${says.padEnd(22)}${marks}`.trimEnd());
  }
}

const rx = new IntelRxQueue(rxState, burstFunctions(arena));
const tx = new IntelTxQueue(txState, burstFunctions(arena));
burstFunctions(arena).intelFill(rxState.offset, arena.lcore);
show('open: the driver gives 7 buffers (8 would look like none), and stores the tail');

for (let i = 0; i < 9; i++) nic.receive(build.frame(build.ethernet({ source: `02:00:00:00:00:0${i}`, destination: '02:00:00:00:00:ff' }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.udp({ sourcePort: i, destinationPort: 9 })));
show(`9 frames came while the driver was away: 7 found a descriptor, ${nic.dropped} were dropped`);

const burst = host.burst(3);
const got = rx.rxBurst(burst);
show(`rxBurst took ${got}, and gave new buffers for them: the tail has moved`);
for (let i = 0; i < got; i++) console.log(`  handle ${burst.handles[i]}, its bytes at IOVA ${hex(IOVA + mbufs.data(burst.handles[i]!))}: ${describe(mbufs, burst.handles[i]!)}`);

swapMacs(mbufs, burst, got);
console.log(`\ntxBurst of ${tx.txBurst(burst, got)}: the tail is at ${u32[tail.tx / 4]}, ${pool.audit().tx} buffers are the device's`);
nic.transmit();
tx.txBurst(burst, 0); // whoever sends next, or asks, takes back what was sent
console.log(`  one report for the burst, and ${pool.audit().tx} are`);

try {
  dma(IOVA + arena.table, 64);
} catch (fault) {
  console.log(`\na descriptor with a wrong address, that of the mbufs' headers: ${(fault as Error).message}`);
}
host.close();
