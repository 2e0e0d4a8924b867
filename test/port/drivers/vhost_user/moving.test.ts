/** What a front-end does while a thread is in its bursts: it moves rings and memory, and it kicks without end. */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { binding } from '../../../../lib/binding.js';
import { concat, setU16, setU32, setU64 } from '../../../../lib/kernel/bytes.js';
import { Idle } from '../../../../lib/lcore/idle.js';
import { launch } from '../../../../lib/lcore/lcore.js';
import { poll } from '../../../../lib/lcore/poll.js';
import { open } from '../../../../lib/port/host.js';
import { VIRTIO_F_RING_PACKED } from '../../../../lib/virtqueue/features.js';
import { DESC_AVAIL, DESC_NEXT, DESC_WRITE, VQ_LOCK } from '../../../../lib/virtqueue/layout.js';
import { u64, writeAddress, writeTable, writeVring } from '../../../../lib/vhost_user/messages.js';
import { xorshift } from '../../../xorshift.js';
import { openFiles } from '../../conformance/close.js';
import { frame } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import type { BothWays } from './both_ways.js';
import { progress } from './progress.js';
import { ask, astray, FEATURES, handshake, MEMORY, message, SIZE, stage, Stranger, type Files, type Said } from './stranger.js';

const MOVES = process.env['POLLMODE_LONG'] === '1' ? 100_000 : 1500;
const ELSEWHERE = 0xee;
const REGION = { guest: 0n, user: 0x7f0000000000n, bytes: BigInt(MEMORY), fileOffset: 0n };

/** Says where rings are, mostly where they can be, and writes descriptors there. */
class Mover {
  readonly #files: Files;
  readonly #packed: boolean;
  readonly #below: (limit: number) => number;

  constructor(files: Files, packed: boolean, below: (limit: number) => number) {
    this.#files = files;
    this.#packed = packed;
    this.#below = below;
  }

  readonly addRegion = (): Said => message('ADD_MEM_REG', concat([u64(0n), writeTable([REGION]).subarray(8)]), [this.#files.memory], 9);
  readonly removeRegion = (): Said => message('REM_MEM_REG', concat([u64(0n), writeTable([REGION]).subarray(8)]), [], 9);

  move(index: number): Said[] {
    const place = this.#place();
    const address = (offset: number): bigint => REGION.user + BigInt(place + offset);
    if (place + 12_288 <= MEMORY) this.#fill(place, index === 0);
    const base = this.#packed ? 0x80008000 : 0;
    const all = [
      message('SET_VRING_NUM', writeVring({ index, value: SIZE })), message('SET_VRING_BASE', writeVring({ index, value: base })),
      message('SET_VRING_ADDR', writeAddress({ index, flags: 0, desc: address(0), avail: address(4096), used: address(8192) })),
    ];
    // By its address alone; stopped first; switched off and on.
    switch (this.#below(4)) {
      case 0: return [all[2]!];
      case 1: return [message('SET_VRING_ENABLE', writeVring({ index, value: 0 })), ...all, message('SET_VRING_ENABLE', writeVring({ index, value: 1 }))];
      case 2: return [message('GET_VRING_BASE', writeVring({ index, value: 0 })), ...all, message('SET_VRING_CALL', u64(BigInt(index)), [this.#files.events[index * 2]!]), message('SET_VRING_KICK', u64(BigInt(index)), [this.#files.events[index * 2 + 1]!])];
      default: return all;
    }
  }

  /** Now and then not aligned, not all in the memory, or not in it at all. Two rings may well be in each other. */
  #place(): number {
    switch (this.#below(12)) {
      case 0: return this.#below(MEMORY);
      case 1: return MEMORY - this.#below(12_288);
      case 2: return MEMORY + this.#below(2 ** 30);
      default: return this.#below((MEMORY - 12_288) / 64) * 64;
    }
  }

  #fill(place: number, writable: boolean): void {
    const bytes = new Uint8Array(12_288);
    for (let i = 0; i < SIZE; i++) {
      setU64(bytes, i * 16, BigInt(this.#below(MEMORY)));
      setU32(bytes, i * 16 + 8, [72, 200, 1500, 2048, 12][this.#below(5)]!);
      const flags = (writable ? DESC_WRITE : 0) | (this.#below(8) === 0 ? DESC_NEXT : 0);
      setU16(bytes, i * 16 + 12, this.#packed ? i : flags);
      setU16(bytes, i * 16 + 14, this.#packed ? flags | DESC_AVAIL : this.#below(SIZE));
      setU16(bytes, 4096 + 4 + i * 2, this.#below(SIZE));
    }
    if (!this.#packed) setU16(bytes, 4096 + 2, 1 + this.#below(SIZE));
    writeSync(this.#files.memory, bytes, 0, bytes.length, place);
  }
}

for (const packed of [false, true]) {
  t.test(`${packed ? 'packed' : 'split'} rings: ${MOVES} moves of rings and memory under the bursts of another thread`, { timeout: 900_000 }, async t => {
    const it = stage();
    const { arena, pool } = it.host;
    const before = [openFiles(), arena.zones().length];
    const seed = Math.floor(Math.random() * 2 ** 32);
    t.comment(`seed ${seed}`);
    const mover = new Mover(it.files, packed, xorshift(seed || 1));
    const port = it.port.number;
    const args: BothWays = { port, elsewhere: ELSEWHERE };
    const lcore = await launch(it.host, { module: new URL('./both_ways.js', import.meta.url), args, queues: [{ port, direction: 'rx', queue: 0 }, { port, direction: 'tx', queue: 0 }] });
    await lcore.running;
    const stranger = new Stranger(it.path);
    // In-flight memory would say where packed rings go on, whatever the front-end says.
    const hello = handshake(it.files, packed ? FEATURES | VIRTIO_F_RING_PACKED : FEATURES).slice(0, 20).filter(({ name }) => !packed || name !== 'GET_INFLIGHT_FD');
    for (const said of hello) ask(it, stranger, said);
    const report = progress(`${packed ? 'packed' : 'split'}, moves`, MOVES);
    let [strays, written, ran] = ['', 0, 0];
    for (let move = 0; move < MOVES && strays === ''; move++) {
      for (const said of mover.move(move % 2)) {
        ask(it, stranger, said);
        strays ||= astray(it);
      }
      if (it.port.link!.read().up) ran++;
      if (move % 16 !== 15) continue;
      written += without(mover);
      await new Promise(resolve => { setImmediate(resolve); });
      report(move + 1);
    }
    const { received, sent } = await lcore.stop() as { received: number; sent: number };
    t.equal(strays, '', 'no ring runs where nothing of the front-end\'s is');
    t.equal(written, 0, 'nothing was written where the memory had been');
    t.equal(it.port.control.counts.protocol_errors, 0, it.port.control.lastFault);
    t.ok(received > MOVES / 10 && sent > MOVES / 10 && ran > MOVES / 10, `${received} frames received, ${sent} sent, ${ran} moves after which the rings ran`);
    stranger.close();
    it.port.control.service();
    const { free, total } = pool.audit();
    t.equal(free, total, 'every mbuf is in the pool');
    t.same([openFiles(), arena.zones().length], before, 'no descriptor and no mapping is left');
    it.close();

    /** The memory is taken away, and somebody else's stands there for a while. Returns how many bytes of that were written. */
    function without({ addRegion, removeRegion }: Mover): number {
      ask(it, stranger, removeRegion());
      const zone = arena.reserve('somebody else\'s', MEMORY, { align: 4096 });
      arena.u8.fill(ELSEWHERE, zone.offset, zone.offset + MEMORY);
      for (let i = 0; i < 4; i++) ask(it, stranger, message('GET_FEATURES'));
      const wrong = arena.u8.subarray(zone.offset, zone.offset + MEMORY).reduce((sum, byte) => sum + (byte === ELSEWHERE ? 0 : 1), 0);
      arena.u8.fill(0, zone.offset, zone.offset + MEMORY);
      arena.release(zone);
      ask(it, stranger, addRegion());
      return wrong;
    }
  });
}

t.test('who takes a ring or its memory away waits for the burst that is in it', async t => {
  const it = stage();
  const stranger = new Stranger(it.path);
  const { arena } = it.host;
  const lock = (it.queues.rx + VQ_LOCK) >>> 2;
  const region = message('REM_MEM_REG', concat([u64(0n), writeTable([REGION]).subarray(8)]), [], 9);
  for (const said of [message('GET_VRING_BASE', writeVring({ index: 1, value: 0 })), region, message('SET_MEM_TABLE', writeTable([]), []), message('SET_VRING_ENABLE', writeVring({ index: 1, value: 0 }))]) {
    for (const each of handshake(it.files, FEATURES).slice(0, 20)) ask(it, stranger, each);
    t.equal(it.port.link!.read().up, true);
    const left = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(`
      const { parentPort, workerData: { words, lock, left } } = require('node:worker_threads');
      Atomics.store(words, lock, 42); // lcore 41, of which nobody says that it is dead
      parentPort.postMessage('in');
      Atomics.wait(left, 0, 0, 50);
      Atomics.store(left, 0, 1);
      Atomics.store(words, lock, 0);`, { eval: true, workerData: { words: arena.i32, lock, left } });
    await once(worker, 'message');
    ask(it, stranger, said);
    t.equal(Atomics.load(left, 0), 1, said.name);
    await once(worker, 'exit');
    t.equal(it.port.control.counts.protocol_errors, 0, it.port.control.lastFault);
  }
  stranger.close();
  it.port.control.service();
  it.close();
});

t.test('kicks without end: another port of a loop that sleeps goes on, and so do its timers; afterwards it sleeps again', async t => {
  const it = stage();
  const stranger = new Stranger(it.path);
  for (const said of handshake(it.files, FEATURES).slice(0, 20)) ask(it, stranger, said);
  const other = open([`vhost:${it.path}n,guest_memory=16`, `virtio_user:${it.path}n,queue_size=64`], { mbufs: 512, arenaOptions: { size: 64 << 20 } });
  const [back, front] = other.ports as [typeof other.ports[0], typeof other.ports[0]];
  const control = new SharedArrayBuffer(8);
  const words = new Int32Array(control);
  const worker = new Worker(new URL('./kicker.js', import.meta.url), { workerData: { fd: it.files.events[3]!, control } });
  while (Atomics.load(words, 1) < 1000) await new Promise(resolve => { setTimeout(resolve, 5); });
  const idle = new Idle({ policy: 'interrupt', queues: [it.port.rx[0]!, back.rx[0]!] });
  const burst = it.host.burst(8);
  let [sent, came, timers] = [0, 0, 0];
  const timer = setInterval(() => timers++, 1);
  const work = (): number => {
    const got = it.port.rx[0]!.rxBurst(burst);
    it.host.pool.free(burst, 0, got);
    const mine = receiveBy(other, back);
    came += mine.length;
    return got + mine.length;
  };
  const ending = new AbortController();
  const loop = poll(work, { idle, signal: ending.signal });
  while (sent < 300) {
    sendBy(other, front, [frame(60, sent++)]);
    await new Promise(resolve => { setImmediate(resolve); });
  }
  for (let tries = 0; tries < 300 && came < sent; tries++) await new Promise(resolve => { setTimeout(resolve, 2); });
  const kicks = Atomics.load(words, 1);
  Atomics.store(words, 0, 1);
  await once(worker, 'exit');
  t.equal(came, sent, 'each frame of the other port');
  t.ok(timers > 10 && kicks > 10_000, `${timers} timers, ${kicks} kicks`);
  t.ok(idle.stats().wakeups > 0, `${idle.stats().wakeups} times it was woken for nothing`);
  await new Promise(resolve => { setTimeout(resolve, 30); });
  ending.abort();
  await loop;
  clearInterval(timer);
  t.equal(it.port.rx[0]!.wake!.arm!(), true);
  t.equal(binding().poll(Int32Array.of(it.port.rx[0]!.wake!.fd, 1), 0), 0, 'nothing of all the kicks is left');
  burst.close();
  stranger.close();
  other.close();
  it.port.control.service();
  it.close();
});
