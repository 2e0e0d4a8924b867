import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { attachXdp, createMap, deleteElement, loadProgram, lookupElement, mapFromFd, openPinned, programInfo, runOnLiveFrames, testRun, updateElement, type BpfMap } from '../../lib/kernel/bpf.js';
import { getU64, u32 } from '../../lib/kernel/bytes.js';
import { BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_PROG_TYPE_XDP, XDP_DROP, XDP_PASS, XDP_TX } from '../../lib/kernel/constants.js';
import { alu, assemble, atomicAdd, B, call, DW, exit, H, jump, jumpAlways, label, load, load64, loadMap, mov, R0, R1, R2, R3, R10, store, toBigEndian, W, type Instruction } from '../../lib/kernel/instructions.js';
import { readLink, setLink, waitForCarrier } from '../../lib/kernel/link.js';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { openSyscallCounter } from '../../lib/kernel/syscall_counter.js';
import { createVeth } from '../../lib/kernel/veth.js';
import { codeThrown, needs } from './rights.js';

const rights = needs('CAP_BPF', 'CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_PERFMON');
const close = (...fds: number[]): void => fds.forEach((fd) => void binding().close(fd));
const xdp = (...instructions: Instruction[]): number => loadProgram({ type: BPF_PROG_TYPE_XDP, instructions: assemble(instructions), name: 'test' });

t.test('instructions are encoded as the instruction set says', async (t) => {
  const encoded = (one: Instruction): string => Buffer.from(assemble([one])).toString('hex');
  // Worked out by hand from Documentation/bpf/standardization/instruction-set.rst.
  t.equal(encoded(mov(R0, 2)), 'b700000002000000');
  t.equal(encoded(mov(R2, R10)), 'bfa2000000000000');
  t.equal(encoded(alu('+', R2, -4)), '07020000fcffffff');
  t.equal(encoded(load(W, R2, R1, 16)), '6112100000000000');
  t.equal(encoded(load(H, R2, R1, 12)), '69120c0000000000');
  t.equal(encoded(store(W, R10, -4, R0)), '630afcff00000000');
  t.equal(encoded(store(B, R10, -1, 7)), '720affff07000000');
  t.equal(encoded(atomicAdd(DW, R0, 0, R1)), 'db10000000000000');
  t.equal(encoded(loadMap(R1, 5)), '18110000050000000000000000000000');
  t.equal(encoded(load64(R3, 0x1122334455667788n)), '18030000887766550000000044332211');
  t.equal(encoded(toBigEndian(R2, 16)), 'dc02000010000000');
  t.equal(encoded(call(1)), '8500000001000000');
  t.equal(encoded(exit()), '9500000000000000');
});

t.test('labels become distances, over two-slot instructions too', async (t) => {
  const bytes = assemble([label('top'), jump('==', R1, R2, 'end'), load64(R3, 0n), jumpAlways('top'), label('end'), exit()]);
  const view = new DataView(bytes.buffer);
  t.equal(view.getInt16(2, true), 3);
  t.equal(view.getInt16(3 * 8 + 2, true), -4);
});

t.test('a program that cannot be encoded is refused', async (t) => {
  t.equal(codeThrown(() => assemble([jumpAlways('nowhere')])), 'EOPTION');
  t.equal(codeThrown(() => assemble([label('a'), label('a')])), 'EOPTION');
  t.equal(codeThrown(() => assemble([mov(R0, 2 ** 32)])), 'EOPTION');
  t.equal(codeThrown(() => assemble([mov(R0, 0.5)])), 'EOPTION');
  t.equal(codeThrown(() => assemble([load(W, R0, R1, 40000)])), 'EOPTION');
});

t.test('a map keeps what is put in it, and sizes are checked before the kernel writes', rights, async (t) => {
  const map = createMap({ type: BPF_MAP_TYPE_HASH, keySize: 4, valueSize: 8, maxEntries: 64, name: 'test' });
  t.match(mapFromFd(map.fd), { type: BPF_MAP_TYPE_HASH, keySize: 4, valueSize: 8, maxEntries: 64 });
  const model = new Map<number, bigint>();
  const value = new Uint8Array(8);
  fc.assert(fc.property(fc.nat(20), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.boolean(), (key, number, remove) => {
    if (remove) t.equal(deleteElement(map, u32(key)), model.delete(key));
    else {
      updateElement(map, u32(key), new Uint8Array(BigUint64Array.of(number).buffer));
      model.set(key, number);
    }
    t.equal(lookupElement(map, u32(key), value), model.has(key));
    if (model.has(key)) t.equal(getU64(value, 0), model.get(key));
  }));
  for (const size of [0, 4, 7, 9]) t.equal(codeThrown(() => lookupElement(map, u32(1), new Uint8Array(size))), 'EOPTION');
  t.equal(codeThrown(() => lookupElement(map, new Uint8Array(3), value)), 'EOPTION');
  t.equal(codeThrown(() => updateElement(map, u32(1), new Uint8Array(4))), 'EOPTION');
  close(map.fd);
});

t.test('a map of values per CPU is not read into a buffer for one', rights, async (t) => {
  const map = createMap({ type: 6, keySize: 4, valueSize: 8, maxEntries: 1 });
  t.equal(codeThrown(() => lookupElement(map, u32(0), new Uint8Array(8))), 'EUNSUPPORTED');
  close(map.fd);
});

/** Counts the IPv4 frames in the map's one value and passes them on; drops all others. */
function countIpv4(map: BpfMap): number {
  return xdp(
    load(W, R2, R1, 0), load(W, R3, R1, 4), // xdp_md: data, data_end
    mov(R0, R2), alu('+', R0, 14), jump('>', R0, R3, 'drop'),
    load(H, R2, R2, 12), toBigEndian(R2, 16), jump('!=', R2, 0x0800, 'drop'),
    store(W, R10, -4, 0), mov(R2, R10), alu('+', R2, -4), loadMap(R1, map.fd), call(BPF_FUNC_map_lookup_elem),
    jump('==', R0, 0, 'drop'), mov(R1, 1), atomicAdd(DW, R0, 0, R1),
    mov(R0, XDP_PASS), exit(),
    label('drop'), mov(R0, XDP_DROP), exit(),
  );
}

function counted(map: BpfMap): bigint {
  const value = new Uint8Array(8);
  lookupElement(map, u32(0), value);
  return getU64(value, 0);
}

t.test('a program runs: arithmetic, a branch on the frame, a map', rights, async (t) => {
  const map = createMap({ type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 });
  const program = countIpv4(map);
  const frame = new Uint8Array(64);
  t.equal(testRun(program, frame), XDP_DROP);
  frame.set([0x08, 0x00], 12);
  t.equal(testRun(program, frame), XDP_PASS);
  t.equal(counted(map), 1n);
  t.match(programInfo(program), { type: BPF_PROG_TYPE_XDP, name: 'test' });
  close(program, map.fd);
});

t.test('a program sends frames of the kernel\'s making, and each of them arrives', rights, async (t) => {
  const fd = createNetns();
  const map = createMap({ type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 });
  const [counter, sender] = [countIpv4(map), xdp(mov(R0, XDP_TX), exit())];
  const frame = new Uint8Array(60);
  frame.set([0x08, 0x00], 12);
  const links = withNetns(fd, () => {
    createVeth({ a: { name: 'left' }, b: { name: 'right' } });
    const ends = ['left', 'right'].map(name => readLink(name).ifindex);
    for (const end of ends) setLink(end, { up: true });
    for (const end of ends) waitForCarrier(end);
    const link = attachXdp(counter, ends[0]!, 'native');
    // Fewer than the 256 that a veth holds, so that none can be lost.
    runOnLiveFrames(sender, frame, ends[1]!, 200);
    frame.set([0x86, 0xdd], 12);
    runOnLiveFrames(sender, frame, ends[1]!, 1);
    t.equal(codeThrown(() => runOnLiveFrames(sender, frame, 9999, 1)), 'ENOTFOUND', 'no such interface');
    return [link];
  });
  for (const end = performance.now() + 60_000; counted(map) < 200n && performance.now() < end;) await sleep(10);
  t.equal(counted(map), 200n);
  close(...links, counter, sender, map.fd, fd);
});

t.test('the verifier\'s log is in the error', rights, async (t) => {
  try {
    xdp(exit());
    t.fail('it was refused');
  } catch (error) {
    t.match(error, { code: 'EUNSUPPORTED' });
    t.match((error as Error).message, /R0 !read_ok/);
  }
});

t.test('an XDP link: one at a time, gone when its descriptor is', rights, async (t) => {
  const fd = createNetns();
  withNetns(fd, () => {
    createVeth({ a: { name: 'left' }, b: { name: 'right' } });
    const { ifindex } = readLink('left');
    const program = xdp(mov(R0, XDP_PASS), exit());
    for (const mode of ['native', 'generic', undefined] as const) {
      const link = attachXdp(program, ifindex, mode);
      t.equal(codeThrown(() => attachXdp(program, ifindex, mode)), 'EBUSYQUEUE');
      close(link);
    }
    t.equal(codeThrown(() => attachXdp(program, 9999)), 'ENOTFOUND', 'no such interface');
    t.equal(codeThrown(() => attachXdp(9999, ifindex)), 'ESYSCALL');
    close(program);
  });
  close(fd);
});

t.test('objects that are not there', rights, async (t) => {
  t.not(codeThrown(() => openPinned('/sys/fs/bpf/no-such-object')), 'none');
  t.not(codeThrown(() => programInfo(0)), 'none');
});

t.test('system calls of this thread are counted, one for one', rights, async (t) => {
  const counter = openSyscallCounter();
  if (counter instanceof PollmodeError) return void t.not(counter.code, 'ERIGHTS', `this kernel has no such tracepoint: ${counter.message}`);
  const tid = binding().gettid();
  t.equal(counter.read(tid), 0, 'not watched yet');
  counter.watch(tid);
  const before = counter.read(tid);
  for (let i = 0; i < 10_000; i++) binding().alive(process.pid);
  const after = counter.read(tid);
  // The read itself is one; a collection of garbage, a compilation or a wait for another thread of V8's may add a few.
  t.ok(after - before > 10_000 && after - before < 15_000, `${after - before} for 10,000 calls and a read`);
  counter.unwatch(tid);
  t.equal(counter.read(tid), 0);
  counter.close();
  counter.close();
});
