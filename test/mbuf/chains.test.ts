/** Chains against arrays of bytes: whatever is done to them, the bytes are the model's, and every mbuf is accounted for. */
import fc from 'fast-check';
import t from 'tap';
import { Chains } from '../../lib/mbuf/chains.js';
import { packets, singles } from '../wire/packet_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 300;
const lab = packets({ count: 512 });
const chains = new Chains(lab.pool);
const { mbufs, pool } = lab;
const { fresh, free } = singles(pool);

/** The header's numbers agree with the segments that are there. */
function expectSound(handle: number, bytes: Uint8Array): void {
  let [segments, length] = [0, 0];
  for (let segment = handle; segment !== 0; segment = chains.next(segment)) {
    segments++;
    length += mbufs.dataLen(segment);
  }
  if (segments !== mbufs.segments(handle) || length !== mbufs.pktLen(handle)) throw new Error(`${segments} segments of ${length} bytes; the header says ${mbufs.segments(handle)} and ${mbufs.pktLen(handle)}`);
  if (!Buffer.from(chains.copyOut(handle)).equals(Buffer.from(bytes))) throw new Error('other bytes');
}

const contents = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.tuple(fc.integer({ min: 1, max: 9000 }), fc.nat(255)).map(([length, seed]) => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8) + seed)));
const commands = fc.array(fc.oneof(
  fc.record({ kind: fc.constant('new' as const), bytes: contents }),
  fc.record({ kind: fc.constantFrom('chain' as const, 'linearise' as const, 'free' as const, 'grow' as const, 'clone' as const), a: fc.nat(9), b: fc.nat(9) }),
  fc.record({ kind: fc.constant('split' as const), a: fc.nat(9), at: fc.oneof(fc.nat(100), fc.nat(9000)) }),
), { minLength: 1, maxLength: 30 });

t.test('any of the things that can be done', async t => {
  const counts = { chained: 0, split: 0, linearised: 0, grown: 0, refused: 0 };
  const whole = pool.audit().free;
  fc.assert(fc.property(commands, list => {
    const held: { handle: number; bytes: Uint8Array; shared: boolean }[] = [];
    for (const command of list) {
      const one = held.length === 0 || command.kind === 'new' ? undefined : held[command.a % held.length];
      switch (command.kind) {
        case 'new': if (held.length < 10) held.push({ handle: fresh(command.bytes), bytes: command.bytes, shared: false }); break;
        case 'chain': {
          const other = held[command.b % Math.max(1, held.length)];
          if (one === undefined || other === undefined || one === other || one.shared || other.shared) break;
          if (!chains.chain(one.handle, other.handle)) throw new Error('not chained');
          one.bytes = Uint8Array.from([...one.bytes, ...other.bytes]);
          held.splice(held.indexOf(other), 1);
          counts.chained++;
          break;
        }
        case 'linearise': {
          if (one === undefined) break;
          const fits = one.bytes.length <= pool.room && !one.shared || mbufs.segments(one.handle) === 1;
          if (chains.linearise(one.handle) !== fits) throw new Error(`linearise should be ${fits}`);
          if (fits) counts.linearised++;
          else counts.refused++;
          break;
        }
        case 'grow': {
          if (one === undefined || one.shared) break;
          const extra = one.bytes.subarray(0, 3000);
          if (!chains.copyIn(one.handle, extra)) throw new Error('not grown');
          one.bytes = Uint8Array.from([...one.bytes, ...extra]);
          counts.grown++;
          break;
        }
        case 'clone': {
          if (one === undefined || one.shared) break;
          chains.clone(one.handle);
          one.shared = true;
          if (chains.copyIn(one.handle, Uint8Array.of(1)) || chains.split(one.handle, 1) !== 0 || chains.chain(one.handle, 0)) throw new Error('a shared one was changed');
          free(one.handle);
          one.shared = false;
          break;
        }
        case 'split': {
          if (one === undefined) break;
          const second = chains.split(one.handle, command.at);
          const cuts = command.at > 0 && command.at < one.bytes.length;
          if ((second !== 0) !== cuts) throw new Error(`split at ${command.at} of ${one.bytes.length}`);
          if (!cuts) break;
          held.push({ handle: second, bytes: one.bytes.slice(command.at), shared: false });
          one.bytes = one.bytes.slice(0, command.at);
          counts.split++;
          break;
        }
        case 'free': if (one !== undefined) {
          free(one.handle);
          held.splice(held.indexOf(one), 1);
        }
      }
      for (const { handle, bytes } of held) expectSound(handle, bytes);
    }
    for (const { handle } of held) free(handle);
    const { free: now, twice } = pool.audit();
    if (now !== whole || twice !== 0) throw new Error(`${now} free of ${whole}, ${twice} twice`);
  }), { numRuns: RUNS });
  for (const [what, count] of Object.entries(counts)) t.ok(count > 3, `${count} ${what}`);
});

t.test('a head of one\'s own before a payload that two share', async t => {
  const payload = fresh(Uint8Array.of(7, 8, 9));
  const [first, second] = [fresh(Uint8Array.of(1)), fresh(Uint8Array.of(2, 2))];
  mbufs.hold(payload);
  t.ok(chains.chain(first, payload) && chains.chain(second, payload));
  t.same([[...chains.copyOut(first)], [...chains.copyOut(second)]], [[1, 7, 8, 9], [2, 2, 7, 8, 9]]);
  const before = pool.audit().free;
  free(first);
  t.same([...chains.copyOut(second)], [2, 2, 7, 8, 9], 'the other has it still');
  free(second);
  t.equal(pool.audit().free, before + 3);
});

t.test('a dry pool changes nothing', async t => {
  const handle = fresh(new Uint8Array(1000));
  const all = pool.burst(512);
  const rest = pool.audit().free;
  t.equal(pool.alloc(all, rest), rest);
  t.equal(chains.copyIn(handle, new Uint8Array(1000)), false);
  t.equal(chains.split(handle, 500), 0);
  expectSound(handle, new Uint8Array(1000));
  t.ok(chains.copyIn(handle, new Uint8Array(700)), 'into the room that is there');
  pool.free(all, 0, rest);
  free(handle);
  all.close();
});
