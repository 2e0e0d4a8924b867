/** What a front-end may say: each request's answer, and then everything that is wrong with one. The port goes on, and nothing of the stranger's is kept. */
import t from 'tap';
import { getU64, concat, setU32 } from '../../../../lib/kernel/bytes.js';
import { open } from '../../../../lib/port/host.js';
import { VIRTIO_F_RING_PACKED } from '../../../../lib/virtqueue/features.js';
import { u64, writeTable, writeVring } from '../../../../lib/vhost_user/messages.js';
import { openFiles } from '../../conformance/close.js';
import { frame } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { progress } from './progress.js';
import { ask, astray, FEATURES, handshake, MEMORY, message, stage, Stranger, type Files, type Said, type Stage } from './stranger.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const SEQUENCES = LONG ? 100_000 : 1500;

t.test('a front-end is answered, and its rings run', async t => {
  for (const features of [FEATURES, FEATURES | VIRTIO_F_RING_PACKED]) {
    const it = stage();
    const stranger = new Stranger(it.path);
    const answers = handshake(it.files, features).slice(0, 20).map(said => [said.name, ask(it, stranger, said)] as const);
    t.ok((getU64(answers[0]![1]!, 0) & features) === features, 'what is needed is offered');
    t.equal(getU64(answers[3]![1]!, 0), 1n, 'one pair of queues');
    t.equal(answers[6]![1]!.length, 20, 'in-flight memory');
    t.equal(it.port.link!.read().up, true);
    t.equal(it.port.control.counts.protocol_errors, 0);
    t.same(it.host.stats(it.port).xstats['guest_memory'], MEMORY);
    stranger.close();
    it.port.control.service();
    t.equal(it.port.link!.read().up, false, 'and when it hangs up, they stop');
    t.same(it.host.stats(it.port).xstats['guest_memory'], 0);
    it.close();
  }
});

t.test('what is refused says so where it was asked to, and ends the connection where not', async t => {
  const it = stage();
  const bad: readonly (readonly [why: string, said: () => Said])[] = [
    ['a feature that was not offered', () => message('SET_FEATURES', u64(1n << 50n), [], 9)],
    ['a vring that there is not', () => message('SET_VRING_NUM', writeVring({ index: 9, value: 64 }), [], 9)],
    ['no eventfd', () => message('SET_VRING_KICK', u64(0n), [it.files.memory], 9)],
    ['a kick without its descriptor', () => message('SET_VRING_KICK', u64(0n), [], 9)],
    ['a region beyond its file', () => message('SET_MEM_TABLE', writeTable([{ guest: 0n, user: 0n, bytes: BigInt(MEMORY) + 1n, fileOffset: 0n }]), [it.files.memory], 9)],
    ['a region that wraps around', () => message('SET_MEM_TABLE', writeTable([{ guest: (1n << 64n) - 4096n, user: 0n, bytes: 8192n, fileOffset: 0n }]), [it.files.memory], 9)],
    ['regions that overlap', () => message('SET_MEM_TABLE', writeTable([0n, 4096n].map(guest => ({ guest, user: guest << 8n, bytes: 8192n, fileOffset: 0n }))), [it.files.memory, it.files.memory], 9)],
    ['memory that is no file', () => message('SET_MEM_TABLE', writeTable([{ guest: 0n, user: 0n, bytes: 4096n, fileOffset: 0n }]), [it.files.events[0]!], 9)],
    ['more memory than there is room for', () => message('SET_MEM_TABLE', writeTable([{ guest: 0n, user: 0n, bytes: 1n << 40n, fileOffset: 0n }]), [it.files.memory], 9)],
  ];
  const files = openFiles();
  for (const acknowledged of [true, false]) {
    for (const [why, said] of bad) {
      const stranger = new Stranger(it.path);
      ask(it, stranger, message('SET_PROTOCOL_FEATURES', u64(acknowledged ? 0x9009n : 0n)));
      const answer = ask(it, stranger, said());
      t.equal(answer === undefined ? undefined : getU64(answer, 0), acknowledged ? 1n : undefined, why);
      t.equal(it.port.control.connected, acknowledged, acknowledged ? 'it goes on' : it.port.control.lastFault);
      stranger.close();
      it.port.control.service();
    }
  }
  t.equal(openFiles(), files, 'no descriptor is left');
  it.close();
});

t.test(`${SEQUENCES} sequences with something wrong in them`, { timeout: 1_100_000 }, async t => {
  const it = stage();
  const neighbours = neighbour(it.path);
  const wrongs = new Wrongs(Math.floor(Math.random() * 2 ** 32), it.files);
  t.comment(`seed ${wrongs.seed}`);
  const before = [openFiles(), it.host.arena.zones().length];
  let strays = '';
  const report = progress('sequences', SEQUENCES);
  for (let i = 0; i < SEQUENCES; i++) {
    const stranger = new Stranger(it.path);
    const features = wrongs.below(2) === 0 ? FEATURES : FEATURES | VIRTIO_F_RING_PACKED;
    for (const said of wrongs.mutate(handshake(it.files, features))) {
      stranger.say(said);
      if (wrongs.below(3) === 0) it.port.control.service();
      strays ||= astray(it);
      if (wrongs.below(4) === 0) burstsBothWays(it);
    }
    it.port.control.service();
    burstsBothWays(it);
    stranger.hear();
    stranger.close();
    it.port.control.service();
    it.port.control.service();
    if (strays !== '') { t.fail(`after ${i} sequences a ring that runs is not in the front-end's memory: ${strays}`); break; }
    report(i + 1);
    if (i % 100 === 0 || i === SEQUENCES - 1) {
      const after = [openFiles(), it.host.arena.zones().length];
      if (after.join() !== before.join()) { t.same(after, before, `after ${i} sequences`); break; }
      if (!neighbours.passes()) { t.fail(`another port is disturbed after ${i} sequences`); break; }
    }
  }
  t.same([openFiles(), it.host.arena.zones().length], before, 'no descriptor and no mapping is left');
  t.equal(it.port.control.counts.connections, SEQUENCES, 'each one was heard');
  t.ok(it.port.control.counts.protocol_errors > SEQUENCES / 10, `${it.port.control.counts.protocol_errors} were refused`);
  t.ok(wrongs.ran > SEQUENCES / 50, `${wrongs.ran} had nothing wrong where it matters`);
  const { free, total } = it.host.pool.audit();
  t.equal(free, total, 'every mbuf is in the pool');
  neighbours.close();
  it.close();
});

function burstsBothWays({ host, port }: Stage): void {
  const burst = host.burst(8);
  const got = port.rx[0]!.rxBurst(burst);
  host.pool.free(burst, 0, got);
  if (host.pool.alloc(burst, 8) > 0) {
    for (const handle of burst.handles.subarray(0, 8)) host.mbufs.copyIn(handle, frame(60, 1));
    const sent = port.tx[0]!.txBurst(burst, 8);
    host.pool.free(burst, sent, 8);
  }
  burst.close();
}

/** A pair of ports of the same process that nobody attacks. */
function neighbour(path: string): { passes: () => boolean; close: () => void } {
  const host = open([`vhost:${path}n,guest_memory=16`, `virtio_user:${path}n,queue_size=64`], { mbufs: 512, arenaOptions: { size: 64 << 20 } });
  const [a, b] = host.ports as [typeof host.ports[0], typeof host.ports[0]];
  return {
    passes() {
      sendBy(host, b, [frame(100, 7)]);
      sendBy(host, a, [frame(90, 8)]);
      return receiveBy(host, a)[0]?.length === 100 && receiveBy(host, b)[0]?.length === 90;
    },
    close: () => host.close(),
  };
}

/** Makes sequences wrong, by chance but from a seed. */
class Wrongs {
  readonly seed: number;
  /** Sequences that stayed as they were. */
  ran = 0;
  readonly #files: Files;
  #state: number;

  constructor(seed: number, files: Files) {
    this.seed = seed;
    this.#state = seed || 1;
    this.#files = files;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  mutate(list: Said[]): Said[] {
    const times = this.below(4);
    if (times === 0) this.ran++;
    for (let i = 0; i < times; i++) this.#one(list);
    return this.below(6) === 0 ? list.slice(0, this.below(list.length + 1)) : list;
  }

  #one(list: Said[]): void {
    const at = this.below(list.length);
    const said = list[at];
    if (said === undefined) return;
    const bytes = said.bytes = said.bytes.slice();
    const word = (i: number, value: number): void => { if (bytes.length >= i + 4) setU32(bytes, i, value); };
    switch (this.below(11)) {
      case 0: return void list.splice(at, 1);
      case 1: return void list.splice(at, 0, { ...said, fds: [...said.fds] });
      case 2: return void list.splice(this.below(list.length), 0, ...list.splice(at, 1));
      case 3: return word(0, this.below(3) === 0 ? this.below(2 ** 32) : this.below(45));
      case 4: return word(4, this.below(16));
      case 5: return word(8, [0, 4, 8, 20, 40, 264, 265, 0x7fffffff, 0xffffffff][this.below(9)]!);
      case 6: said.bytes = bytes.subarray(0, this.below(bytes.length + 1)); return;
      case 7: said.bytes = concat([bytes, new Uint8Array(this.below(64))]); return;
      case 8: said.fds = this.below(2) === 0 ? [] : [...said.fds, ...Array.from({ length: this.below(12) }, () => this.#files.events[0]!)]; return;
      case 9: said.fds = said.fds.map(() => this.below(2) === 0 ? this.#files.memory : this.#files.events[this.below(4)]!); return;
      default: for (let i = 0; i < 4 && bytes.length > 12; i++) bytes[12 + this.below(bytes.length - 12)] = [0, 1, 0xff, this.below(256)][this.below(4)]!;
    }
  }
}

