/** What a client may say, and a server: each message's answer, and then everything that is wrong with one. The port goes on, and nothing of the stranger's is kept. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { PollmodeError } from '../../../../lib/errors.js';
import { setU16 } from '../../../../lib/kernel/bytes.js';
import { MSG_DONTWAIT } from '../../../../lib/kernel/constants.js';
import { Door } from '../../../../lib/kernel/door.js';
import { open, type Host } from '../../../../lib/port/host.js';
import { MEMIF_COOKIE, MOST_MEMIF_REGIONS } from '../../../../lib/port/drivers/memif/layout.js';
import { MEMIF_VERSION, MESSAGE_BYTES, readMessage, writeMessage, type Message } from '../../../../lib/port/drivers/memif/messages.js';
import type { MemifPort } from '../../../../lib/port/drivers/memif/port.js';
import { openFiles } from '../../conformance/close.js';
import { frames } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { xorshift } from '../../../xorshift.js';
import { ClientFiles, handshake, LOG2_RING, REGION_BYTES, said, Stranger, type Said } from './stranger_helper.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const SEQUENCES = LONG ? 100_000 : 1500;

interface Scene { readonly host: Host; readonly port: MemifPort; readonly path: string; readonly files: ClientFiles; close(): void }

function folder(): { path: string; remove: () => void } {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-memif-'));
  return { path: join(made, 's'), remove: () => rmSync(made, { recursive: true, force: true }) };
}

function scene(): Scene {
  const { path, remove } = folder();
  const host = open([`memif:${path},role=server,client_memory=8`], { mbufs: 512 });
  const files = new ClientFiles();
  return {
    host, path, files, port: host.ports[0] as MemifPort,
    close() {
      host.close();
      files.close();
      remove();
    },
  };
}

/** Says it, gives the port its turn, and hears the answer. */
function ask({ port }: Scene, stranger: Stranger, each: Said): Message | undefined {
  stranger.say(each);
  port.side.service();
  return stranger.hear();
}

function stat({ host, port }: Scene, name: string): number {
  return host.stats(port).xstats[name]!;
}

const isUp = ({ port }: Scene): boolean => port.link.read().up;

t.test('every message is as it was written', async t => {
  const text = fc.string({ maxLength: 23, unit: 'grapheme-ascii' });
  const [u8, u16, u32] = [8, 16, 32].map(bits => fc.integer({ min: 0, max: 2 ** bits - 1 })) as [fc.Arbitrary<number>, fc.Arbitrary<number>, fc.Arbitrary<number>];
  const message: fc.Arbitrary<Message> = fc.oneof(
    fc.record({ kind: fc.constant('ack' as const) }),
    fc.record({ kind: fc.constant('hello' as const), name: text, minVersion: u16, maxVersion: u16, maxRegion: u16, maxToClient: u16, maxToServer: u16, maxLog2Ring: u8 }),
    fc.record({ kind: fc.constant('init' as const), version: u16, id: u32, mode: u8, secret: text, name: text }),
    fc.record({ kind: fc.constant('addRegion' as const), index: u16, bytes: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) }),
    fc.record({ kind: fc.constant('addRing' as const), toServer: fc.boolean(), index: u16, region: u16, offset: u32, log2Size: u8, privateHeader: u16 }),
    fc.record({ kind: fc.constantFrom('connect' as const, 'connected' as const), name: text }),
    fc.record({ kind: fc.constant('disconnect' as const), code: u32, reason: text }),
  );
  fc.assert(fc.property(message, each => { t.same(readMessage(writeMessage(each)), JSON.parse(JSON.stringify({ ...each, ...(each.kind === 'addRegion' ? { bytes: 0 } : {}) }), (key, value: unknown) => key === 'bytes' && each.kind === 'addRegion' ? each.bytes : value)); }), { numRuns: 200 });
  // The places of the fields, as DPDK's packed structures have them (drivers/net/memif/memif.h).
  const ring = writeMessage({ kind: 'addRing', toServer: true, index: 0x0201, region: 0x0403, offset: 0x08070605, log2Size: 9, privateHeader: 0x0b0a });
  t.same([...ring.subarray(0, 16)], [5, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]);
  t.same([...writeMessage({ kind: 'addRegion', index: 0x0201, bytes: 0x0807060504030201n }).subarray(0, 12)], [4, 0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
});

t.test('a client is answered, and its rings run', async t => {
  const it = scene();
  const stranger = new Stranger(it.path);
  it.port.side.service();
  t.match(stranger.hear(), { kind: 'hello', minVersion: MEMIF_VERSION, maxToServer: 0, maxLog2Ring: 14 });
  t.same(handshake(it.files).map(each => ask(it, stranger, each)?.kind), ['ack', 'ack', 'ack', 'ack', 'connected']);
  t.equal(isUp(it), true);
  t.equal(stat(it, 'client_memory'), REGION_BYTES);
  stranger.say(said({ kind: 'disconnect', code: 0, reason: 'enough' }));
  it.port.side.service();
  t.equal(isUp(it), false);
  t.match(it.host.stats(it.port).xstats, { connections: 1, disconnections: 1, protocol_errors: 0, client_memory: 0 });
  stranger.close();
  it.close();
});

/** A wrong word in place of, or before, one of the handshake's: at 0 init, 1 region, 2 and 3 rings, 4 connect; and why. */
function wrongs(files: ClientFiles): (readonly [at: number, what: Said, why: RegExp])[] {
  const [init, region, ring] = handshake(files) as [Said, Said, Said];
  const { memory, events } = files;
  const ringWith = (change: object, fds: readonly number[] = [events[0]!]): Said => said({ kind: 'addRing', toServer: true, index: 0, region: 0, offset: 0, log2Size: LOG2_RING, privateHeader: 0, ...change }, fds);
  return [
    [0, region, /Unexpected/], [0, said({ kind: 'connect', name: '' }), /Unexpected/], [0, said({ kind: 'init', version: 0x100, id: 0, mode: 0, secret: '', name: '' }), /version/],
    [0, said({ kind: 'init', version: MEMIF_VERSION, id: 9, mode: 0, secret: '', name: '' }), /ID not found/],
    [0, said({ kind: 'init', version: MEMIF_VERSION, id: 0, mode: 1, secret: '', name: '' }), /mode/],
    [0, { ...init, fds: [memory] }, /too many/], [0, { bytes: init.bytes.subarray(0, 127), fds: [] }, /another size/],
    [0, { bytes: new Uint8Array(129), fds: [] }, /another size/], [0, { bytes: new Uint8Array(MESSAGE_BYTES), fds: [] }, /no known kind/],
    [1, init, /Unexpected/], [1, { ...region, fds: [] }, /no descriptor/], [1, { ...region, fds: [memory, memory] }, /too many/], [1, { ...region, fds: [memory, memory, ...events] }, /too many/],
    [1, said({ kind: 'addRegion', index: 1, bytes: BigInt(REGION_BYTES) }, [memory]), /not the next/],
    [1, said({ kind: 'addRegion', index: 0, bytes: BigInt(REGION_BYTES) + 1n }, [memory]), /not all in its file/],
    [1, said({ kind: 'addRegion', index: 0, bytes: 0n }, [memory]), /no bytes/], [1, said({ kind: 'addRegion', index: 0, bytes: (1n << 64n) - 1n }, [memory]), /more than/],
    [1, said({ kind: 'addRegion', index: 0, bytes: 64n }, [events[0]!]), /not all in its file/],
    [2, ringWith({ index: 1 }), /ring index/], [2, ringWith({ index: 0xffff, toServer: false }), /ring index/], [2, ringWith({ log2Size: 15 }), /2\^14/], [2, ringWith({ log2Size: 255 }), /2\^14/],
    [2, ringWith({ privateHeader: 8 }), /Private/], [2, ringWith({}, [memory]), /no eventfd/], [2, ringWith({}, []), /no descriptor/],
    [3, ring, /ring index/], [3, said({ kind: 'connected', name: '' }), /Unexpected/], [3, said({ kind: 'ack' }), /Unexpected/],
  ];
}

t.test('what is wrong ends the connection, with the reason, and the next client is served', async t => {
  const it = scene();
  const open = openFiles();
  let expected = 0;
  for (const [at, what, why] of wrongs(it.files)) {
    const stranger = new Stranger(it.path);
    it.port.side.service();
    stranger.hear();
    for (const each of handshake(it.files).slice(0, at)) t.equal(ask(it, stranger, each)?.kind, 'ack');
    const answer = ask(it, stranger, what);
    t.match(answer, { kind: 'disconnect', reason: why });
    stranger.close();
    it.port.side.service();
    t.equal(it.host.stats(it.port).xstats['client_memory'], 0);
    if (at > 0) expected++;
  }
  t.match(it.host.stats(it.port).xstats, { protocol_errors: expected, connections: expected, disconnections: expected });
  t.equal(openFiles(), open, 'no descriptor is kept');
  serves(t, it);
  it.close();
});

t.test('rings that are not where they should be', async t => {
  const it = scene();
  for (const change of [{ offset: REGION_BYTES - 128 }, { offset: 0xfffffff0 }, { region: 1 }, { region: MOST_MEMIF_REGIONS }, { offset: 8 }, { offset: 8192 }]) {
    const stranger = new Stranger(it.path);
    it.port.side.service();
    stranger.hear();
    const words = handshake(it.files);
    words[2] = said({ kind: 'addRing', toServer: true, index: 0, region: 0, offset: 0, log2Size: LOG2_RING, privateHeader: 0, ...change }, [it.files.events[0]!]);
    t.match(words.map(each => ask(it, stranger, each)).at(-1), { kind: 'disconnect', reason: change.offset === 8192 ? /no cookie/ : /not all in its region/ });
    t.equal(isUp(it), false);
    stranger.close();
  }
  t.equal(MEMIF_COOKIE, 0x3e31f20);
  it.port.side.service();
  serves(t, it);
  it.close();
});

t.test('clients that say nothing, or do not read, hold nobody for ever', async t => {
  const it = scene();
  const silent = Array.from({ length: 20 }, () => new Stranger(it.path));
  for (let i = 0; i < 5; i++) it.port.side.service();
  const until = performance.now() + 60_000;
  while (stat(it, 'connections_refused') < 20 && performance.now() < until) await sleep(20);
  t.equal(stat(it, 'connections_refused'), 20);
  for (const each of silent) each.close();
  serves(t, it);
  const half = new Stranger(it.path);
  it.port.side.service();
  for (const each of handshake(it.files).slice(0, 2)) ask(it, half, each);
  const begun = stat(it, 'disconnections');
  while (stat(it, 'disconnections') === begun && performance.now() < until) await sleep(20);
  t.equal(stat(it, 'disconnections'), begun + 1, 'nor one that begins and does not go on');
  half.close();
  serves(t, it);
  const deaf = new Stranger(it.path);
  it.port.side.service();
  for (const each of handshake(it.files)) deaf.say(each);
  for (let i = 0; i < 10_000 && deaf.say(said({ kind: 'ack' })) > 0; i++) if (i % 8 === 0) it.port.side.service();
  it.port.side.service();
  t.equal(isUp(it), false);
  deaf.close();
  serves(t, it);
  it.close();
});

function serves(t: Test, it: Scene): void {
  const client = open([`memif:${it.path},rsize=5`], { mbufs: 512 });
  sendBy(client, client.ports[0]!, frames(4));
  t.equal(receiveBy(it.host, it.port).length, 4, 'the next client is served');
  client.close();
  it.port.side.service();
}

t.test(`${SEQUENCES} sequences of messages, some of them mutated`, { timeout: 600_000 }, async t => {
  const it = scene();
  const [open, zones] = [openFiles(), it.host.arena.zones().length];
  const seed = Math.floor(Math.random() * 2 ** 32);
  t.comment(`seed ${seed}`);
  const random = xorshift(seed);
  const mutate = (each: Said): Said => {
    const bytes = each.bytes.slice(0, random(12) === 0 ? random(MESSAGE_BYTES + 1) : MESSAGE_BYTES);
    for (let i = random(3); i > 0 && bytes.length > 0; i--) bytes[random(Math.min(bytes.length, 16))] = random(256);
    if (random(6) === 0 && bytes.length >= 2) setU16(bytes, 0, random(10));
    const all = [it.files.memory, ...it.files.events];
    const fds = random(8) === 0 ? Array.from({ length: random(4) }, () => all[random(3)]!) : each.fds;
    return { bytes, fds };
  };
  let ups = 0;
  const burst = it.host.burst(8);
  for (let i = 0; i < SEQUENCES; i++) {
    const stranger = new Stranger(it.path);
    it.port.side.service();
    const words = handshake(it.files);
    if (random(4) === 0) words.splice(random(words.length), 1);
    if (random(4) === 0) words.splice(random(words.length), 0, words[random(words.length)]!);
    for (const each of words) {
      if (stranger.say(random(3) === 0 ? mutate(each) : each) < 0) break;
      if (random(2) === 0) it.port.side.service();
    }
    it.port.side.service();
    if (isUp(it)) {
      ups++;
      it.host.pool.free(burst, 0, it.port.rx[0]!.rxBurst(burst));
      const made = it.host.pool.alloc(burst, 2);
      const taken = it.port.tx[0]!.txBurst(burst, made);
      if (taken < made) it.host.pool.free(burst, taken, made);
    }
    stranger.close();
    it.port.side.service();
    if (i % 64 === 0) await sleep(0);
  }
  burst.close();
  it.port.side.service();
  t.ok(ups > SEQUENCES / 50, `${ups} of them ran`);
  t.same([openFiles(), it.host.arena.zones().length], [open, zones], 'no descriptor and no region is kept');
  t.equal(it.host.pool.audit().free, it.host.pool.size);
  serves(t, it);
  it.close();
});

/** A server that is nobody's library: it answers with what it is told to answer. */
async function badServer(answers: readonly (Message | Uint8Array | 'close')[], words = ''): Promise<{ code: string; message: string }> {
  const { path, remove } = folder();
  const door = new Door(path, [process.geteuid!()]);
  let fd: number | undefined;
  const left = [...answers];
  const { takeTurns } = await import('../../../../lib/vhost_user/turns.js');
  const leave = takeTurns(() => {
    fd ??= door.accept();
    if (fd === undefined || left.length === 0) return;
    const next = left.shift()!;
    if (next === 'close') binding().close(fd);
    else binding().sendFds(fd, next instanceof Uint8Array ? next : writeMessage(next), new Int32Array(), MSG_DONTWAIT);
    if (next === 'close') fd = undefined;
  });
  try {
    open([`memif:${path}${words}`], { mbufs: 4096 }).close();
    return { code: 'none', message: '' };
  } catch (cause) {
    if (!(cause instanceof PollmodeError)) throw cause;
    return cause;
  } finally {
    leave();
    if (fd !== undefined) binding().close(fd);
    door.close();
    remove();
  }
}

t.test('a server that is wrong is told of by a typed error, and nothing is left', async t => {
  const hello: Message = { kind: 'hello', name: 'x', minVersion: MEMIF_VERSION, maxVersion: MEMIF_VERSION, maxRegion: 255, maxToClient: 254, maxToServer: 254, maxLog2Ring: 14 };
  const ack: Message = { kind: 'ack' };
  const files = openFiles();
  const cases: [readonly (Message | Uint8Array | 'close')[], string, RegExp][] = [
    [[], 'ENOANSWER', /1000 ms/], [['close'], 'ENOANSWER', /hung up/], [[hello, ack, 'close'], 'ENOANSWER', /hung up/], [[hello], 'ENOANSWER', /1000 ms/],
    [[ack], 'EFORMAT', /out of turn/], [[hello, hello], 'EFORMAT', /out of turn/], [[hello, { kind: 'connected', name: '' }], 'EFORMAT', /out of turn/],
    [[hello, ack, ack, ack, ack, ack, ack], 'EFORMAT', /out of turn/], [[new Uint8Array(64)], 'EFORMAT', /another size/], [[new Uint8Array(MESSAGE_BYTES)], 'EFORMAT', /no known kind/],
    [[{ ...hello, minVersion: 0x300, maxVersion: 0x300 }], 'EUNSUPPORTED', /version/], [[{ ...hello, maxToClient: 0 }], 'EUNSUPPORTED', /1 queues/],
    [[{ ...hello, maxRegion: 0 }], 'EUNSUPPORTED', /regions/], [[hello, { kind: 'disconnect', code: 1, reason: 'go \x01away' }], 'EUNSUPPORTED', /go \?away/],
  ];
  for (const [answers, code, message] of cases) t.match(await badServer(answers, code === 'EUNSUPPORTED' && /queues/.test(message.source) ? ',queues=2,rsize=5' : ',rsize=5'), { code, message });
  t.equal(openFiles(), files);
});
