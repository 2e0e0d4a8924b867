/** The model by itself, driven by the datasheet's own sequences: each register access as section 4.6 has it. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Bank, word } from './bank.js';
import { BROADCAST, BUFFERS, Bench, ENTRIES, HOLE, IOVA, RINGS, SIZE, clean, count, plainFrame, start, type Access } from './helper.js';
import { REGISTERS, at } from './registers.js';
import { Statistics } from './statistics.js';
import type { StepperData } from './stepper.js';

for (const access of ['bus', 'memory'] as const satisfies readonly Access[]) {
  t.test(`the datasheet's start-up, and frames both ways, ${access === 'bus' ? 'access by access' : 'in plain memory'}`, async t => {
    const bench = start(new Bench(access));
    clean(t, bench);
    for (let i = 0; i < 40; i++) {
      const frame = plainFrame(60 + i * 36, i);
      t.ok(bench.model.receive(frame), `frame ${i} is taken`);
      const got = bench.received(0, i % ENTRIES);
      t.match(got, { done: true, end: true, length: frame.length, bytes: frame }, 'and stands in its buffer');
      bench.arm(0, i % ENTRIES);
      bench.set('RDT', (i + ENTRIES - 1 + 1) % ENTRIES, 0);
      const next = bench.putFrame(0, i % ENTRIES, frame);
      bench.set('TDT', next, 0);
      bench.model.step();
      t.same(bench.sent.splice(0), [frame], 'and goes out again');
      t.equal(bench.descriptor(bench.txRing(0), i % ENTRIES)[3]! & 1, 1, 'DD after RS');
    }
    t.equal(bench.peek('TDH'), 40 % ENTRIES);
    t.equal(bench.peek('RDH'), 40 % ENTRIES);
    clean(t, bench);
  });
}

t.test('registers: where they are, what they hold after a reset, and their other places', async t => {
  t.equal(at('RDT', 63), 0x1018 + 0x40 * 63);
  t.equal(at('RDT', 64), 0xd018, 'queues 64 and up stand apart');
  t.equal(at('TDT', 127), 0x6018 + 0x40 * 127);
  t.throws(() => at('RDT', 128));
  t.throws(() => at('RDX'));
  const bench = new Bench();
  t.equal(bench.get('STATUS') & (1 << 19), 1 << 19, 'PCIe Master Enable Status');
  t.equal(bench.get('MAXFRS') >>> 16, 1518);
  t.equal(bench.get('RAL'), 0x90598202, 'the station from the EEPROM');
  t.equal(bench.get('RAH'), 0x80000100);
  t.equal(bench.get('LINKS') & (1 << 30), 1 << 30);
  bench.model.write(0x5818, 1); // MRQC at the 82598's place
  t.equal(bench.get('MRQC'), 1);
  bench.set('MRQC', 0);
  t.equal(bench.model.read(0x5818), 0);
  for (const { name, mode, initial, reserved } of REGISTERS) {
    t.ok(initial === 'X' || Number.isInteger(initial), `${name} ${mode} ${reserved >>> 0}`);
  }
});

t.test('a reset: bits that clear themselves, defaults, and what comes back when', async t => {
  const bench = new Bench('memory');
  bench.set('FCTRL', 1 << 9);
  bench.set('MTA', 0x1234, 5);
  bench.modify('CTRL', 1 << 2);
  t.ok(bench.until('STATUS', 1 << 19, 0), 'the master is disabled');
  bench.raw('CTRL', (1 << 26) | (1 << 2));
  bench.model.step();
  t.equal(bench.peek('CTRL') & (1 << 26), 1 << 26, 'RST stays for a while');
  t.equal(bench.peek('FCTRL'), 0, 'the registers are new');
  t.equal(bench.peek('EEC') & (1 << 9), 0, 'the EEPROM is not read yet');
  t.notOk(bench.model.receive(plainFrame(60, 0, BROADCAST)), 'nothing is received meanwhile');
  t.ok(bench.until('CTRL', (1 << 26) | (1 << 2), 0), 'RST and the master\'s disabling are gone');
  t.equal(bench.peek('EEC') & (1 << 9), 0, 'and the EEPROM is still being read');
  t.ok(bench.until('EEC', 1 << 9, 1 << 9));
  t.ok(bench.until('EEMNGCTL', 1 << 18, 1 << 18), 'CFG_DONE0');
  t.ok(bench.until('RDRXCTL', 1 << 3, 1 << 3), 'DMAIDONE');
  t.equal(bench.peek('MTA', 5), 0x1234, 'memories are not touched');
  t.equal(bench.peek('LINKS') & (1 << 30), 1 << 30, 'nor the link');
  bench.modify('CTRL', 1 << 2);
  bench.modify('CTRL', 1 << 3); // LRST
  t.equal(bench.peek('LINKS'), 0, 'LRST takes the link');
  t.ok(bench.until('LINKS', 1 << 30, 1 << 30), 'which comes again');
  clean(t, bench);
});

t.test('a queue that is not programmed does not become enabled', async t => {
  const bench = new Bench('bus');
  bench.modify('RXDCTL', 1 << 25, 0, 3);
  t.notOk(bench.until('RXDCTL', 1 << 25, 1 << 25, 3));
  bench.set('RDLEN', 256, 3);
  bench.modify('RXDCTL', 1 << 25, 0, 3);
  t.equal(bench.get('RXDCTL', 3) & (1 << 25), 0, 'not at once');
  t.ok(bench.until('RXDCTL', 1 << 25, 1 << 25, 3), 'but in a moment');
  bench.modify('RXDCTL', 0, 1 << 25, 3);
  t.ok(bench.until('RXDCTL', 1 << 25, 0, 3), 'and disabled');
  t.match(bench.model.violations, [/RXDCTL\[3\]\.ENABLE is set before RDLEN/]);
});

t.test('statistics: what is counted, by queue, over 32 bits, and cleared by reading', async t => {
  const bench = start(new Bench(), { queues: [0, 1], filters: bench => { bench.set('TQSM', 0x0100); bench.set('RQSMR', 0x0100); } });
  bench.model.receive(plainFrame(60));
  bench.model.receive(plainFrame(500, 0, BROADCAST));
  bench.set('TDT', bench.putFrame(1, 0, plainFrame(1000, 0, BROADCAST)), 1);
  bench.model.step();
  t.same(['GPRC', 'BPRC', 'PRC64', 'PRC511', 'GPTC', 'BPTC', 'PTC1023', 'TPT'].map(name => bench.get(name)), [2, 1, 1, 1, 1, 1, 1, 1]);
  t.same([bench.get('GORCL'), bench.get('GOTCL'), bench.get('QPRC'), bench.get('QBRC_L'), bench.get('QPTC', 1), bench.get('QBTC_L', 1)], [568, 1004, 2, 560, 1, 1000]);
  t.same([bench.get('GPRC'), bench.get('GORCL')], [0, 0], 'a read has cleared them');
  bench.model.receive(plainFrame(60));
  t.equal(bench.peek('GPRC'), 1);
  bench.model.readStatistics();
  t.equal(bench.peek('GPRC'), 0);
  clean(t, bench);
  const bank = new Bank(new SharedArrayBuffer(1 << 19), 0);
  const statistics = new Statistics(bank);
  const [low, high, good] = [word('GORCL'), word('GORCH'), word('GPRC')];
  bank.set(low, 0xffffffff);
  bank.set(good, 0xffffffff);
  statistics.good(plainFrame(60), 64);
  t.same([bank.get(low), bank.get(high), bank.get(good)], [63, 1, 0xffffffff], '36 bits of octets; packets stop at all ones');
});

t.test('interrupts: causes, masks, clearing by 1 and by reading, vectors', async t => {
  const bench = start(new Bench(), { queues: [0, 1], filters: bench => {
    bench.set('GPIE', (1 << 4) | (1 << 30) | (1 << 5)); // Multiple_MSIX, EIAME, OCD
    bench.set('IVAR', 0x80 | (0x81 << 8) | (0x82 << 16));
    bench.set('IVAR_MISC', 0x83 << 8);
    bench.set('EIAC', 1);
    bench.set('EIAM', 4);
  } });
  bench.model.receive(plainFrame(60));
  t.same([bench.peek('EICR') & 0xffff, bench.vectors.splice(0)], [1, []], 'a cause, masked');
  bench.set('EIMS', 1);
  t.same([bench.peek('EICR') & 0xffff, bench.vectors.splice(0)], [0, [0]], 'unmasked: the vector, and EIAC clears the cause');
  bench.set('EIMS', 1 << 20);
  t.equal(bench.peek('EIMS'), (1 << 20) | 1, 'a 1 sets, a 0 leaves');
  t.equal(bench.peek('EIMS_EX'), 1, 'and the lower half stands in EIMS[1] too');
  bench.model.link(false);
  t.same(bench.vectors.splice(0), [3], 'LSC by IVAR_MISC');
  t.equal(bench.peek('EICR'), 1 << 20);
  bench.set('EICR', 1 << 20);
  t.equal(bench.peek('EICR'), 0, 'cleared by a 1');
  bench.set('EIMC', 1 << 20);
  t.equal(bench.peek('EIMS'), 1);
  bench.model.link(true);
  t.same([bench.vectors.splice(0), bench.peek('EICR')], [[], 1 << 20]);
  t.equal(bench.get('EICR'), 1 << 20);
  t.equal(bench.get('EICR'), 0, 'and by a read');
  bench.set('EIMS', 6);
  bench.set('TDT', bench.putFrame(0, 0, plainFrame(60)));
  bench.model.step();
  t.same(bench.vectors.splice(0), [1], 'transmit of queue 0');
  bench.set('EICS', 4);
  t.same([bench.vectors.splice(0), bench.peek('EIMS')], [[2], 3], 'by software, and EIAM masks');
  bench.set('EIMC_EX', 2);
  t.equal(bench.peek('EIMS'), 1, 'EIMC[1] is EIMC, below 16');
  clean(t, bench);
});

t.test('the link: nothing goes either way without it; loopback needs none', async t => {
  const bench = start(new Bench());
  bench.model.link(false);
  t.equal(bench.get('LINKS') & (1 << 30), 0);
  t.notOk(bench.model.receive(plainFrame(60)));
  bench.set('TDT', bench.putFrame(0, 0, plainFrame(60)));
  bench.model.step();
  t.same([bench.sent.length, bench.peek('TDH')], [0, 0], 'sending waits');
  bench.model.link(true);
  bench.model.step();
  t.equal(bench.sent.splice(0).length, 1);
  bench.modify('AUTOC', 1 << 12);
  t.same([bench.get('AUTOC') & (1 << 12), bench.get('LINKS')], [0, 0], 'Restart_AN clears itself, and the link is away');
  bench.model.step();
  t.equal(bench.get('LINKS') & (1 << 30), 1 << 30);
  bench.modify('HLREG0', 1 << 15); // LPBK
  bench.set('TDT', bench.putFrame(0, 1, plainFrame(60, 5)));
  bench.model.step();
  t.same([bench.sent.length, bench.received(0, 0).bytes], [0, plainFrame(60, 5)], 'what was sent is received');
  clean(t, bench);
});

t.test('hostile descriptors: outside what is mapped, outside the ring, without end', async t => {
  const bench = start(new Bench());
  bench.arm(0, 0, IOVA + HOLE);
  bench.arm(0, 1, IOVA + HOLE - 30); // half of it is mapped
  bench.arm(0, 2, 0xffff_ffff_ffff_f000);
  for (let i = 0; i < 4; i++) t.ok(bench.model.receive(plainFrame(100, i)));
  t.equal(bench.model.faults, 3, 'three refused, one of them in its second page');
  t.same(bench.received(0, 3).bytes, plainFrame(100, 3), 'and the fourth arrives');
  t.ok(bench.u8.subarray(HOLE, HOLE + 4096).every(byte => byte === 0), 'nothing was written there');
  t.equal(bench.peek('EICR') & (1 << 18), 1 << 18, 'PCI Exception');
  bench.putFrame(0, 0, plainFrame(80));
  bench.descriptor(bench.txRing(0), 0)[0] = HOLE;
  bench.set('TDT', bench.putFrame(0, 1, plainFrame(80, 1)));
  bench.model.step();
  t.same(bench.sent.splice(0), [plainFrame(80, 1)], 'a frame that cannot be read is not sent, the next is');
  for (let i = 0; i < ENTRIES; i++) bench.descriptor(bench.txRing(0), i).set([0, 1, (64 | (3 << 20) | (1 << 29)) >>> 0, 0]);
  bench.set('TDT', 1);
  for (let i = 0; i < 100; i++) bench.model.step();
  t.equal(bench.sent.length, 0, 'a packet without end goes nowhere, and takes no time');
  const lost = start(new Bench(), { without: ['RDT'] });
  lost.modify('RXDCTL', 0, 1 << 25);
  lost.set('RDBAH', 7);
  lost.modify('RXDCTL', 1 << 25);
  lost.model.step();
  lost.set('RDT', 4);
  t.notOk(lost.model.receive(plainFrame(60)), 'a ring outside what is mapped');
  t.equal(lost.model.faults, 1);
  const edge = start(new Bench('bus', { translate: iova => (iova < IOVA + BUFFERS ? iova - IOVA : SIZE - 50) }));
  t.ok(edge.model.receive(plainFrame(100)));
  t.equal(edge.model.faults, 1, 'a translation that leads beyond memory');
  const random = start(new Bench());
  const sizes = [random.u32.length];
  let seed = 7;
  for (let round = 0; round < 300; round++) {
    for (let word = 0; word < ENTRIES * 4; word++) random.u32[random.txRing(0) / 4 + word] = seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    random.set('TDT', seed % ENTRIES);
    random.model.step();
  }
  t.same([random.u32.length, random.peek('TXDCTL') & (1 << 25)], [...sizes, 1 << 25], '300 rings of random words are lived through');
  t.ok(random.u8.subarray(RINGS - 4096, RINGS).every(byte => byte === 0), 'nothing strayed before the rings');
});

t.test('between two steps plain memory has no order, and the model asks for none', async t => {
  const bench = new Bench('memory', { sequential: false });
  t.equal(count('RXDCTL'), 128);
  start(bench);
  bench.modify('RXDCTL', 0, 1 << 25);
  bench.raw('RDH', 0);
  bench.raw('RDT', 0);
  bench.model.step();
  bench.raw('RDT', 7);
  bench.raw('RXDCTL', 1 << 25);
  bench.model.step();
  t.equal(bench.peek('RDT'), 7, 'enabled first, then the tail');
  bench.raw('MTQC', 8);
  bench.model.step();
  clean(t, bench);
  bench.raw('RDT', 3, 50);
  bench.model.step();
  t.match(bench.model.violations, [/RDT\[50\] is bumped before/], 'but no tail without a queue');
  bench.raw('EIMS', 5);
  bench.model.step();
  bench.raw('EIMC', 4);
  bench.model.step();
  t.same([bench.peek('EIMS'), bench.peek('EIMC')], [1, 0]);
});

t.test('a model in another thread: nothing is missed and nothing is taken for a fault', async t => {
  const control = new SharedArrayBuffer(12);
  const words = new Int32Array(control);
  // A model is made here too, for the bench, and never stepped; the other one then takes the registers over.
  const bench = new Bench('elsewhere');
  const worker = new Worker(new URL('./stepper.js', import.meta.url), { workerData: { memory: bench.memory, control } satisfies StepperData });
  const result = once(worker, 'message') as Promise<[{ violations: string[]; faults: number }]>;
  Atomics.wait(words, 0, 0, 60_000);
  for (let round = 0; round < 20; round++) {
    start(bench, { queues: [0, 1] });
    const lost = exchange(bench, round % 2, 100);
    t.equal(lost, 0, `round ${round}: 100 frames out and back`);
  }
  Atomics.store(words, 0, 0);
  const [{ violations, faults }] = await result;
  t.same(violations, []);
  t.equal(faults, 0);
  t.equal(Atomics.load(words, 2), 0);
});

/** Sends frames one by one, waits for each to come back in queue 0, and tells how many did not come as they went. */
function exchange(bench: Bench, queue: number, frames: number): number {
  let lost = 0;
  for (let i = 0; i < frames; i++) {
    const frame = plainFrame(60 + i, i);
    bench.set('TDT', bench.putFrame(queue, i % ENTRIES, frame), queue);
    const status = bench.descriptor(bench.rxRing(0), i % ENTRIES);
    for (let tries = 0; tries < 20_000 && (status[2]! & 1) === 0; tries++) bench.step();
    const { done, bytes } = bench.received(0, i % ENTRIES);
    if (!done || Buffer.compare(bytes, frame) !== 0) lost++;
    bench.arm(0, i % ENTRIES);
    bench.set('RDT', i % ENTRIES);
  }
  return lost;
}

t.test('a PCIe reset: as at power-up', async t => {
  const bench = start(new Bench());
  bench.model.receive(plainFrame(60));
  bench.model.reset();
  t.same(['RXCTRL', 'GPRC', 'RDT', 'TDLEN'].map(name => bench.peek(name)), [0, 0, 0, 0]);
  t.not(bench.peek('MTA'), 0, 'memories hold what nobody knows');
  t.notOk(bench.model.receive(plainFrame(60)));
  start(bench);
  t.ok(bench.model.receive(plainFrame(60)));
  clean(t, bench);
});
