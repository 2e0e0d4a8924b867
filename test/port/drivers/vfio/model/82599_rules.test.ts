/** What the datasheet forbids or leaves undefined: each thing done once to a device that is otherwise brought up by it, and the sentence that the model has for it. */
import t from 'tap';
import { frameOf } from '../../../../rss/frames_helper.js';
import { Bench, ENTRIES, IFCS, IXSM, KEY, TXSM, VLE, forStation, plainFrame, start } from './helper.js';
import { frameCheck } from './packet.js';

const FORBIDDEN: readonly (readonly [RegExp, (bench: Bench) => void])[] = [
  [/CTRL\.RST is set before the master is disabled/, bench => void start(bench, { without: ['master'] })],
  [/is written before CTRL\.RST reads as 0/, bench => void start(bench, { without: ['reset'] })],
  [/enabled before (EEC\.Auto_RD|RDRXCTL\.DMAIDONE)/, bench => { bench.modify('CTRL', 4); bench.modify('CTRL', 1 << 26); bench.model.step(); bench.modify('DMATXCTL', 1); }],
  [/enabled before RDRXCTL\.DMAIDONE/, bench => { bench.modify('CTRL', 4); bench.modify('CTRL', 1 << 26); bench.model.step(); bench.model.step(); bench.modify('DMATXCTL', 1); }],
  [/FCRTH\[0\]\.RTH is 0/, bench => void start(bench, { without: ['FCRTH'] })],
  [/before all of MTA is initialised/, bench => void start(bench, { without: ['MTA'] })],
  [/before all of PFUTA is initialised/, bench => void start(bench, { without: ['PFUTA'] })],
  [/before all of MPSAR is initialised/, bench => void start(bench, { without: ['MPSAR'] })],
  [/before all of PFVLVF is initialised/, bench => void start(bench, { without: ['PFVLVF'] })],
  [/before all of PFVLVFB is initialised/, bench => void start(bench, { without: ['PFVLVFB'] })],
  [/before all of VFTA is initialised/, bench => void start(bench, { without: ['VFTA'], filters: bench => bench.modify('VLNCTRL', 1 << 30) })],
  [/before all of RETA is initialised/, bench => void start(bench, { filters: bench => { KEY.forEach((value, n) => bench.set('RSSRK', value, n)); bench.set('MRQC', 1); } })],
  [/before all of RSSRK is initialised/, bench => void start(bench, { filters: bench => { bench.fill('RETA', () => 0); bench.set('MRQC', 1); } })],
  [/RSCFRSTSIZE is not 0/, bench => void start(bench, { filters: bench => bench.modify('RDRXCTL', (3 << 25) | 2), without: ['RDRXCTL'] })],
  [/RSCACKC and FCOE_WRFIX are not both 1/, bench => void start(bench, { filters: bench => bench.modify('RDRXCTL', 2, 0x1f << 17), without: ['RDRXCTL'] })],
  [/CRCStrip and HLREG0\.RXCRCSTRP differ/, bench => void start(bench, { filters: bench => bench.modify('HLREG0', 0, 2) })],
  [/RXEN is set before any receive queue/, bench => void start(bench, { queues: [] })],
  [/RXEN is set while SECRXCTRL\.RX_DIS does not hold/, bench => void start(bench, { without: ['hold'] })],
  [/RDT\[0\] is bumped before RXDCTL\[0\]\.ENABLE/, bench => void start(bench, { without: ['rx poll', 'RXEN'] })],
  [/RDT\[5\] is bumped before/, bench => { start(bench); bench.set('RDT', 3, 5); }],
  [/RXDCTL\[0\]\.ENABLE is set before RDLEN\[0\]/, bench => void start(bench, { without: ['RDLEN', 'RXEN', 'RDT'] })],
  [/RDT\[0\] is outside the ring/, bench => { start(bench); bench.set('RDT', ENTRIES); }],
  [/RDH\[0\] is written while its queue/, bench => { start(bench); bench.set('RDH', 5); }],
  [/RDBAL\[9\] is not aligned/, bench => { start(bench); bench.set('RDBAL', 0x40, 9); }],
  [/RDLEN\[9\] is not a multiple of 128/, bench => { start(bench); bench.set('RDLEN', 64, 9); }],
  [/RDLEN\[9\] is above 128 KB/, bench => { start(bench); bench.set('RDLEN', 0x20080, 9); }],
  [/RDLEN\[0\] is written while its queue is enabled/, bench => { start(bench); bench.set('RDLEN', 512); }],
  [/SRRCTL\[9\]\.BSIZEPACKET is 0/, bench => { start(bench); bench.set('SRRCTL', 0x400, 9); }],
  [/SRRCTL\[9\]\.BSIZEPACKET is 17/, bench => { start(bench); bench.set('SRRCTL', 0x411, 9); }],
  [/SRRCTL\[9\]\.DESCTYPE is 3/, bench => { start(bench); bench.set('SRRCTL', 0x402 | (3 << 25), 9); }],
  [/header splitting, which should not be used/, bench => { start(bench); bench.set('SRRCTL', 0x402 | (2 << 25), 9); }],
  [/CTRL_EXT\.NS_DIS is not set/, bench => { start(bench, { without: ['NS_DIS'] }); bench.model.receive(plainFrame(60)); }],
  [/bit 12 of DCA_RXCTRL\[0\]/, bench => { start(bench, { without: ['DCA'] }); bench.model.receive(plainFrame(60)); }],
  [/receive queue 0 is handed over with DD set/, bench => { start(bench); bench.descriptor(bench.rxRing(0), 0)[2] = 1; bench.model.receive(plainFrame(60)); }],
  [/FCTRL is changed while RXCTRL\.RXEN/, bench => { start(bench); bench.set('FCTRL', 1 << 9); }],
  [/MAXFRS\.MFS is 16000/, bench => { start(bench); bench.set('MAXFRS', 16000 << 16); }],
  [/MRQC\.MRQE is 10/, bench => { start(bench); bench.set('MRQC', 10); }],
  [/RSCCTL asks for receive side coalescing/, bench => { start(bench); bench.set('RSCCTL', 1); }],
  [/PFVTCTL asks for virtualisation/, bench => { start(bench); bench.set('PFVTCTL', 1); }],
  [/MTQC asks for DCB or virtualisation/, bench => { start(bench); bench.modify('RTTDCS', 1 << 6); bench.set('MTQC', 2); }],
  [/ETQF\[0\] is for IP/, bench => { start(bench); bench.set('ETQF', 0x80000800); }],
  [/FTQF\[0\] compares SAQF, which holds what it held/, bench => { start(bench); bench.set('L34TIMIR', (1 << 12) | (1 << 19)); bench.set('FTQF', 0xbc000004); }],
  [/FTQF\[0\] has no priority/, bench => { start(bench); bench.set('L34TIMIR', (1 << 12) | (1 << 19)); bench.set('FTQF', 0xbe000000); }],
  [/L34TIMIR\[0\] has other reserved bits/, bench => { start(bench); bench.set('FTQF', 0xbe000004); }],
  [/SYNQF asks for the SYN filter/, bench => { start(bench); bench.set('SYNQF', 1); }],
  [/FDIRCTRL asks for Flow Director/, bench => { start(bench); bench.set('FDIRCTRL', 1); }],
  [/RETA\[3\] is written with reserved bits/, bench => { start(bench); bench.set('RETA', 0x10, 3); }],
  [/VLNCTRL is written with reserved bits/, bench => { start(bench); bench.modify('VLNCTRL', 1 << 31); }],
  [/STATUS is written, which is read-only/, bench => { start(bench); bench.set('STATUS', 0); }],
  [/GPRC is written, which is read-only/, bench => { start(bench); bench.set('GPRC', 0); }],
  [/0x1100c is written, where this model knows no register/, bench => { start(bench); bench.model.write(0x1100c, 1); }],
  [/DTXMXSZRQ is written without RTTDCS\.ARBDIS/, bench => void start(bench, { without: ['ARBDIS'] })],
  [/MTQC is written without RTTDCS\.ARBDIS/, bench => { start(bench); bench.set('MTQC', 0); bench.set('MTQC', 8); }],
  [/TXDCTL\[0\]\.ENABLE is set before DMATXCTL\.TE/, bench => void start(bench, { without: ['TE'] })],
  [/TXDCTL\[0\]\.ENABLE is set before TDLEN/, bench => void start(bench, { without: ['TDLEN'] })],
  [/TDT\[0\] is bumped before TXDCTL\[0\]\.ENABLE/, bench => { start(bench, { without: ['tx poll'] }); bench.set('TDT', 1); }],
  [/TDT\[0\] is outside the ring/, bench => { start(bench); bench.set('TDT', ENTRIES); }],
  [/TDH\[0\] is written while/, bench => { start(bench); bench.set('TDH', 5); }],
  [/TDBAL\[9\] is not aligned/, bench => { start(bench); bench.set('TDBAL', 0x10, 9); }],
  [/TDLEN\[9\] is not a multiple/, bench => { start(bench); bench.set('TDLEN', 0x90, 9); }],
  [/TDBAL\[0\] is written while its queue is enabled/, bench => { start(bench); bench.set('TDBAL', 0x80); }],
  [/TXDCTL\[9\]\.PTHRESH is used and HTHRESH is 0/, bench => { start(bench); bench.set('TXDCTL', 32, 9); }],
  [/TXDCTL\[9\]\.WTHRESH is not 0 with head write-back/, bench => { start(bench); bench.set('TDWBAL', 1, 9); bench.set('TXDCTL', 1 << 16, 9); }],
  [/DMATXCTL\.VT and VLNCTRL\.VET differ/, bench => void start(bench, { filters: bench => bench.set('VLNCTRL', 0x9100) })],
];

t.test('what the datasheet forbids is told, each by its sentence and by nothing else', async t => {
  for (const [sentence, act] of FORBIDDEN) {
    const bench = new Bench();
    act(bench);
    t.ok(bench.model.violations.some(violation => sentence.test(violation)), String(sentence));
    t.same(bench.model.violations.filter(violation => !sentence.test(violation)), [], 'and no other');
    t.ok(bench.model.violations.every(violation => /\(\d+\.\d+/.test(violation)), 'with a section');
  }
  const quiet = start(new Bench());
  for (const [sentence] of FORBIDDEN) t.notOk(quiet.model.violations.some(violation => sentence.test(violation)), `not otherwise: ${sentence}`);
});

interface Bad {
  readonly frame?: Uint8Array;
  readonly command?: number;
  readonly options?: number;
  readonly pieces?: number;
  /** Changes words of the first descriptor. */
  readonly change?: (words: Uint32Array, bench: Bench) => void;
}

/** The same for transmit descriptors: one packet in queue 0. */
const BAD_PACKETS: readonly (readonly [RegExp, Bad])[] = [
  [/is handed over with DD set/, { change: words => { words[3]! |= 1; } }],
  [/has a PAYLEN that is not the sum/, { change: words => { words[3]! += 1 << 14; } }],
  [/has an empty buffer/, { change: words => { words[2]! &= ~0xffff; } }],
  [/has reserved bits set/, { change: words => { words[2]! |= 1 << 16; } }],
  [/has reserved bits set/, { change: words => { words[3]! |= 1 << 11; } }],
  [/has a DTYP that is neither/, { change: words => { words[2]! = (words[2]! & ~(0xf << 20)) | (5 << 20); } }],
  [/mixes the legacy and the advanced format/, { pieces: 2, change: words => { words[2]! &= ~(1 << 29); } }],
  [/has RS without EOP/, { pieces: 2, change: words => { words[2]! |= 1 << 27; } }],
  [/asks for TCP segmentation/, { command: IFCS | (1 << 31) }],
  [/is longer than 15\.5 KB/, { change: words => { words[2] = (words[2]! & ~0xffff) | 16000; words[3] = 16000 << 14; } }],
  [/needs IFCS/, { frame: plainFrame(40), command: 0 }],
  [/without a valid FCS of its own/, { frame: plainFrame(64), command: 0 }],
  [/the context that IDX names was never given/, { options: IXSM }],
  [/the context that IDX names was never given/, { command: IFCS | VLE }],
];
const BAD_CONTEXTS: readonly (readonly [RegExp, Parameters<Bench['putContext']>[2], Bad])[] = [
  [/TUCMD\.L4T 3, which is reserved/, { l4: 3 }, {}],
  [/an IDX above 1/, { idx: 2 }, {}],
  [/header lengths that the packet has not/, { ip: 200 }, { options: IXSM }],
  [/IXSM is set and the context says IPv6/, { ipv4: false }, { options: IXSM }],
  [/the header's checksum field is not 0/, {}, { options: IXSM }],
  [/which this model has not \(7\.2\.5\)/, { l4: 2 }, { options: TXSM }],
  [/TXSM is set and the packet has no such header/, { ip: 44, l4: 1 }, { options: TXSM }],
];

function sendBad(bench: Bench, index: number, { frame = plainFrame(64), change, ...how }: Bad): void {
  const next = bench.putFrame(0, index, frame, how);
  change?.(bench.descriptor(bench.txRing(0), index), bench);
  bench.set('TDT', next);
  bench.model.step();
}

t.test('bad transmit descriptors are told', async t => {
  for (const [sentence, bad] of BAD_PACKETS) {
    const bench = start(new Bench());
    sendBad(bench, 0, bad);
    t.ok(bench.model.violations.some(violation => sentence.test(violation)), `${sentence}`);
  }
  for (const [sentence, context, bad] of BAD_CONTEXTS) {
    const bench = start(new Bench());
    sendBad(bench, bench.putContext(0, 0, context), bad);
    t.ok(bench.model.violations.some(violation => sentence.test(violation)), `${sentence}`);
  }
  const udp = forStation(frameOf({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2, protocol: 'udp', tags: 0, extensions: [], fragment: false }));
  new DataView(udp.buffer).setUint16(38, 20);
  const seed = start(new Bench());
  sendBad(seed, seed.putContext(0, 0, {}), { frame: udp, options: TXSM });
  t.match(seed.model.violations, [/has not the pseudo header's sum/]);
  const inside = start(new Bench());
  inside.putFrame(0, 0, plainFrame(64), { pieces: 2 });
  inside.putContext(0, 1, {});
  inside.set('TDT', 2);
  inside.model.step();
  t.match(inside.model.violations, [/stands inside a packet/]);
  const silent = start(new Bench());
  for (let i = 0; i < 48; i++) sendBad(silent, i % ENTRIES, { change: words => { words[2]! &= ~(1 << 27); } });
  t.match(silent.model.violations, [/RS is not set once in 40/]);
  const threshold = start(new Bench());
  threshold.modify('TXDCTL', 1 << 16);
  sendBad(threshold, 0, {});
  t.match(threshold.model.violations, [/RS is set in transmit queue 0, whose WTHRESH/]);
  const own = start(new Bench());
  const frame = plainFrame(64);
  const check = frameCheck(frame);
  sendBad(own, 0, { frame: Uint8Array.of(...frame, check & 0xff, (check >>> 8) & 0xff, (check >>> 16) & 0xff, check >>> 24), command: 0 });
  t.same([own.sent, own.model.violations], [[frame], []], 'a frame with its own FCS is sent as it is');
});
