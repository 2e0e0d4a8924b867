/** A front-end that takes more than its share, or takes away what is in use: other ports of the process, and memory that is nobody's of its own, stay as they are. */
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { binding } from '../../../../lib/binding.js';
import { concat, getU64 } from '../../../../lib/kernel/bytes.js';
import { open } from '../../../../lib/port/host.js';
import type { VhostPort } from '../../../../lib/port/drivers/vhost/vhost.js';
import { queueZone } from '../../../../lib/port/queue_view.js';
import { VIRTIO_F_RING_PACKED } from '../../../../lib/virtqueue/features.js';
import { VQ_INFLIGHT, VQ_LOCK } from '../../../../lib/virtqueue/layout.js';
import { u64, VRING_NO_FD, writeInflight, writeTable } from '../../../../lib/vhost_user/messages.js';
import { ask, astray, FEATURES, handshake, message, stage, Stranger, type Stage } from './stranger.js';

const MIB = 1 << 20;

/** Where the queues of the first pair write down what they have used. */
function inflightOf({ host: { arena } }: Stage): number[] {
  return (['rx', 'tx'] as const).map(direction => arena.u32[(arena.find(queueZone(0, direction, 0)).offset + VQ_INFLIGHT) >>> 2]!);
}

for (const features of [FEATURES, FEATURES | VIRTIO_F_RING_PACKED]) {
  t.test(`in-flight memory that is asked for again while rings run, ${features === FEATURES ? 'split' : 'packed'}`, async t => {
    const it = stage();
    const stranger = new Stranger(it.path);
    for (const said of handshake(it.files, features).slice(0, 20)) ask(it, stranger, said);
    t.equal(it.port.link!.read().up, true);
    t.ok(inflightOf(it).every(at => at !== 0), 'rings write into it');
    t.equal(astray(it), '');
    // Larger than the one before, so it stands elsewhere; where that one was is free for anybody's mapping.
    const answer = ask(it, stranger, message('GET_INFLIGHT_FD', writeInflight({ bytes: 0n, fileOffset: 0n, queues: 2, queueSize: 32768 })));
    t.equal(answer?.length, 20);
    t.equal(astray(it), '', 'rings that run write into what there is now, and not where the old one was');
    t.equal(it.port.link!.read().up, true, 'and they run');
    stranger.close();
    it.port.control.service();
    it.close();
  });
}

t.test('a guest gets the room that its port was given, and leaves the others theirs', async t => {
  const it = stage();
  const others = open([`vhost:${it.path}o,guest_memory=8`], { pool: it.host.pool, mbufs: 512 });
  const memory = binding().memfd('greedy', 64 * MIB, 0);
  const region = (i: number, bytes: number): Uint8Array => writeTable([{ guest: BigInt(i) << 32n, user: BigInt(i) << 40n, bytes: BigInt(bytes), fileOffset: 0n }]).subarray(8);
  const stranger = new Stranger(it.path);
  ask(it, stranger, message('SET_PROTOCOL_FEATURES', u64(0x9009n)));
  const mapped: number[] = [];
  for (let i = 0; i < 32; i++) {
    const answer = ask(it, stranger, message('ADD_MEM_REG', concat([u64(0n), region(i + 1, 4 * MIB)]), [memory], 9));
    t.equal(getU64(answer!, 0), 0n, 'taken');
    mapped.push(it.host.arena.zones().filter(({ name }) => name.includes('/vhost/guest/')).reduce((sum, { length }) => sum + length, 0));
  }
  t.ok(mapped[1] === 8 * MIB && Math.max(...mapped) <= (8 + 16) * MIB, `${Math.max(...mapped) / MIB} MiB of the arena, of 8 that are its own and 16 for what pages round up to`);
  t.equal(mapped.at(-1), 0, 'with more all of it is beside the arena');
  t.equal(it.host.stats(it.port).xstats['guest_memory_beside'], 128 * MIB);
  const many = ask(it, stranger, message('GET_INFLIGHT_FD', writeInflight({ bytes: 0n, fileOffset: 0n, queues: 512, queueSize: 32768 })));
  t.equal(many, undefined, 'in-flight memory for queues that there are not');
  t.match(it.port.control.lastFault, /GET_INFLIGHT_FD/);
  const honest = new Stranger(`${it.path}o`);
  const port = others.ports[0] as VhostPort;
  const other = { ...it, port };
  ask(other, honest, message('SET_PROTOCOL_FEATURES', u64(0x9009n)));
  t.equal(getU64(ask(other, honest, message('ADD_MEM_REG', concat([u64(0n), region(1, 8 * MIB)]), [memory], 9))!, 0), 0n, 'another guest has its room');
  honest.close();
  stranger.close();
  binding().close(memory);
  others.close();
  it.close();
});

t.test('a front-end that talks for ever, over one connection or many, is not waited for all the time', async t => {
  const it = stage();
  const addon = binding() as { poll: ReturnType<typeof binding>['poll'] };
  const { poll } = addon;
  let [waits, turns] = [0, 0];
  // A message comes during each wait, as fast as it is waited for.
  let stranger = new Stranger(it.path);
  addon.poll = (...args) => {
    if (args[1] > 0) {
      waits++;
      stranger.say(message('SET_OWNER'));
    }
    return poll(...args);
  };
  try {
    for (; turns < 1000; turns++) {
      stranger.say(message('SET_OWNER'));
      it.port.control.service(true);
      if (turns % 50 !== 49) continue;
      stranger.close();
      stranger = new Stranger(it.path);
    }
  } finally {
    addon.poll = poll;
  }
  t.ok(waits >= 64, `${waits} waits, as many as a handshake needs`);
  t.ok(waits <= turns + 200, `and in ${turns} turns no more than one for each`);
  t.ok(it.port.control.counts.messages > turns, `${it.port.control.counts.messages} messages were heard`);
  stranger.close();
  it.port.control.service();
  it.close();
});

t.test('a front-end that has its memory mapped over and over gets few of them done in a turn, and all of them in time', async t => {
  const it = stage();
  const stranger = new Stranger(it.path);
  ask(it, stranger, message('SET_PROTOCOL_FEATURES', u64(0x9009n)));
  const said = Array.from({ length: 40 }, () => stranger.say(message('SET_MEM_TABLE', writeTable([{ guest: 0n, user: 0n, bytes: 65536n, fileOffset: 0n }]), [it.files.memory])));
  t.ok(said.every(sent => sent > 0));
  const { counts } = it.port.control;
  const turns: number[] = [];
  for (let heard = counts.messages; turns.length < 40 && heard < 41; heard = counts.messages) {
    it.port.control.service();
    turns.push(counts.messages - heard);
  }
  t.ok(Math.max(...turns) <= 4, `${turns.join(', ')} in a turn`);
  t.equal(counts.messages, 41);
  t.equal(counts.protocol_errors, 0);
  stranger.close();
  it.port.control.service();
  it.close();
});

/** The kernel's own numbers of all eventfds that this process has. */
function eventfds(): string[] {
  return readdirSync('/proc/self/fdinfo').flatMap(fd => {
    try {
      return /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? [];
    } catch {
      return []; // the directory's own
    }
  });
}

t.test('no descriptor of a front-end outlives its connection', async t => {
  const it = stage();
  const mine = binding().eventfd(0, 0x800);
  const id = /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${mine}`, 'utf8'))![1]!;
  for (const request of ['SET_VRING_CALL', 'SET_VRING_KICK', 'SET_VRING_ERR'] as const) {
    for (const after of [[], [message(request, u64(BigInt(VRING_NO_FD)))], [message('GET_VRING_BASE', u64(0n))]]) {
      const stranger = new Stranger(it.path);
      for (const said of [message(request, u64(0n), [mine]), ...after]) ask(it, stranger, said);
      t.equal(it.port.control.counts.protocol_errors, 0);
      stranger.close();
      it.port.control.service();
      t.equal(eventfds().filter(each => each === id).length, 1, `${request}${after.map(({ name }) => `, ${name}`).join('')}: only the front-end's own`);
    }
  }
  binding().close(mine);
  it.close();
});

t.test('a front-end that goes while a thread hangs in a burst of its ring', async t => {
  const it = stage();
  const stranger = new Stranger(it.path);
  for (const said of handshake(it.files, FEATURES).slice(0, 20)) ask(it, stranger, said);
  const { arena } = it.host;
  const lock = (arena.find(queueZone(0, 'rx', 0)).offset + VQ_LOCK) >>> 2;
  Atomics.store(arena.i32, lock, 41 + 1); // lcore 41, of which nobody says that it is dead
  const guest = (): number => arena.zones().filter(({ name }) => name.includes('/vhost/guest/')).length;
  stranger.close();
  it.port.control.service();
  t.equal(guest(), 1, 'the memory that it works on stays');
  t.match(it.port.control.lastFault, /Lcore 41/, 'and who it is is said');
  const next = new Stranger(it.path);
  t.equal(ask(it, next, message('GET_FEATURES')), undefined, 'the next front-end waits');
  Atomics.store(arena.i32, lock, 0);
  it.port.control.service();
  t.equal(guest(), 0, 'once the burst has ended, the memory goes');
  t.ok(getU64(next.hear().subarray(12), 0) > 0n, 'and the next front-end is answered');
  t.equal(it.port.link!.read().up, false);
  next.close();
  it.close();
});
