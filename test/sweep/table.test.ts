import fc from 'fast-check';
import t from 'tap';
import { conclusions } from '../../lib/sweep/conclusion.js';
import { latencyCsv, sweepCsv } from '../../lib/sweep/csv.js';
import { linearAxis, logAxis } from '../../lib/sweep/axis.js';
import { looksOf } from '../../lib/sweep/palette.js';
import { ownShare, sweepResult } from '../../lib/sweep/results.js';
import type { LatencyCell, MeasuredCell, SweepCell, SweepResult } from '../../lib/sweep/results.js';
import { spread } from '../../lib/sweep/statistics.js';
import { sweepTables, tableStyle } from '../../lib/sweep/table.js';
import { count, escapeHtml, figure, percent, printable, times } from '../../lib/sweep/text.js';
import { exampleHeader, exampleResult } from './example.js';

const BURSTS = [1, 8, 32, 64];

function cell(path: string, burst: number, rates: readonly number[]): MeasuredCell {
  const zero = spread([0]);
  return { path, burst, frame: 64, direction: 'send', status: 'measured', packetsPerSecond: spread(rates), sent: 1, received: 1, loss: [], userNs: zero, systemNs: zero, syscalls: zero };
}

/** Three rounds a hundredth apart. */
function close(rate: number): number[] {
  return [rate, rate * 0.995, rate * 1.005];
}

/** AF_XDP at the given Mpps per burst, dgram at 0.1 Mpps. */
function sweep(mpps: readonly number[], others: readonly SweepCell[] = BURSTS.map((burst) => cell('dgram', burst, close(1e5)))): SweepResult {
  return sweepResult(exampleHeader('none'), [...mpps.map((rate, index) => cell('af_xdp', BURSTS[index], close(rate * 1e6))), ...others]);
}

t.test('conclusions say what the figures say', async (t) => {
  const first = (result: SweepResult): string => conclusions(result)[0];
  t.equal(first(sweep([0.5, 1.4, 1.45, 1.4])), 'AF_XDP sends 64-byte frames 15× as fast as dgram at burst 32 (1.45 against 0.100 Mpps); the gain flattens from burst 8 on.');
  t.match(first(sweep([0.5, 0.8, 1.1, 1.6])), /11× as fast .* the rate is highest at the largest burst, 64\.$/);
  t.match(first(sweep([0.5, 1.6, 1.5, 1])), /the rate peaks at burst 8 and falls after it\.$/);
  t.match(first(sweep([1, 1, 1, 1])), /the burst size makes less than a tenth of difference\.$/);
  t.match(first(sweep([0.05, 0.05, 0.05, 0.05])), /0\.50× as fast as dgram, so slower, at burst 32/);
  t.match(first(sweep([1, 2, 3, 4], [])), /^AF_XDP sends 64-byte frames at 3\.00 Mpps at burst 32/);
  const overlapping = BURSTS.map((burst) => cell('dgram', burst, [1e5, 3.1e6, 4e6]));
  t.match(first(sweep([3, 3, 3, 3], overlapping)), /^AF_XDP sends 64-byte frames at burst 32 at a rate that cannot be told apart from dgram's here: medians 3\.00 and 3\.10 Mpps, rounds overlap/);
  const refused: SweepCell = { path: 'af_xdp', burst: 1, frame: 64, direction: 'send', status: 'missing', reason: 'AF_XDP needs CAP_NET_RAW: run as root.' };
  t.equal(first(sweep([], [refused, cell('dgram', 1, [1e5])])), 'AF_XDP was not measured; the reason stands with what was left out.');
  t.match(conclusions(sweep([], [refused, cell('raw socket', 1, [2e5]), cell('memory null', 1, [2e8]), cell('dgram', 1, [1e5])]))[1], /^raw socket sends 64-byte frames 2\.0× as fast as dgram/);
  t.match(first(sweep([], [cell('memory null', 1, [2e8]), cell('dgram', 1, [1e5])])), /^dgram sends 64-byte frames at 0\.100 Mpps/, 'a memory port is not compared with a socket');
  t.same(conclusions(sweep([], [])), []);
});

t.test('conclusions say no more of the burst than the rounds can show', async (t) => {
  const dgram = BURSTS.map((burst) => cell('dgram', burst, close(1e5)));
  const first = (...rates: readonly (readonly number[])[]): string => conclusions(sweepResult(exampleHeader('none'), [...rates.map((each, index) => cell('af_xdp', BURSTS[index], each.map((rate) => rate * 1e6))), ...dgram]))[0];
  const unknown = /what the burst size does to it cannot be told here: rounds of a cell lie up to \d+ % of its median apart\.$/;
  t.match(first([0.5, 0.5], [0.4, 1.6, 1.7], [1.5, 1.5], [0.3, 1, 1.65]), unknown, 'no peak where the last band reaches up to it');
  t.match(first([0.5, 0.5], [1.5, 1.6, 1.7], [1.5, 1.5], [0.9, 1, 1.1]), /the rate peaks at burst 8/, 'and one where it does not');
  t.match(first([0.5, 0.5], [0.8, 0.8], [0.9, 1.1, 1.7], [1.5, 1.6, 1.7]), unknown, 'nor the largest as the best');
  t.match(first([0.2, 0.5, 1.6], [1.4, 1.4], [1.5, 1.5], [1.4, 1.4]), unknown, 'nor a gain that flattens');
  t.match(first([1, 1], [0.4, 1, 1.9], [1, 1], [1, 1]), unknown, 'nor no difference');
  t.match(first([1], [2], [3], [1]), /^AF_XDP sends 64-byte frames 30× as fast as dgram at burst 32 \(3\.00 against 0\.100 Mpps, in one round\)\.$/, 'one round shows nothing of it');
});

t.test('a busy machine is said, and first where others had more than 30 %; nothing measured is said once', async (t) => {
  const of = (takenByOthers: number | null): string[] => {
    const { cells } = sweep([1, 1, 1, 1]);
    return conclusions(sweepResult({ ...exampleHeader('none'), takenByOthers }, cells));
  };
  t.match(of(0.41)[0], /^The machine was busy: other programs had 41 % of the two CPUs/);
  t.match(of(0.12)[0], /^AF_XDP sends/);
  t.match(of(0.12).at(-1), /other programs had 12 %/);
  for (const quiet of [0.02, null]) t.notMatch(of(quiet).join(), /busy/);
  t.match(sweepTables(sweepResult({ ...exampleHeader('none'), takenByOthers: 0.5 }, sweep([1, 1, 1, 1]).cells), { width: 200, colour: false }), /\n\nThe machine was busy/);

  const late: SweepCell = { path: 'af_xdp', burst: 1, frame: 64, direction: 'send', status: 'missing', reason: 'The sweep was stopped before this cell.' };
  const none = sweepTables(sweepResult({ ...exampleHeader('none'), rounds: 0 }, [late, { ...late, direction: 'receive' }]), { width: 80, colour: false });
  t.notMatch(none, /0 rounds|Mpps|not measured/);
  t.equal(none.match(/nothing was measured/gi)?.length, 1, none);
  const half = sweepTables(sweepResult(exampleHeader('none'), [cell('af_xdp', 1, close(1e6)), { ...late, direction: 'receive' }, { ...late, frame: 1518 }]), { width: 80, colour: false });
  t.match(half, /^64-byte frames, send: Mpps/m);
  t.notMatch(half, /receive: Mpps|1518-byte frames/, 'a table without a measured cell is left out');
});

t.test('conclusions: our own part of the CPU time, and round trips', async (t) => {
  const own = { ...cell('af_xdp', 32, [1e6]), userNs: spread([30, 10]), systemNs: spread([370, 390]) };
  const trip = (path: string, p50: number): LatencyCell => ({
    path, burst: 1, frame: 64, kind: 'round-trip', offered: 20_000, samples: 10, sent: 12, returned: 11, p50: spread([p50]), p99: spread([2 * p50]), p999: spread([3 * p50]),
  });
  const said = conclusions(sweepResult(exampleHeader('none'), [own, cell('dgram', 32, [1e5])], [trip('dgram', 70_000), trip('af_xdp', 9_000)])).join('\n');
  t.match(said, /at burst 32, 5 % is the program and this library/);
  t.match(said, /takes 9\.00 µs \(99 % within 18\.0 µs\) by AF_XDP and 70\.0 µs \(99 % within 140 µs\) by dgram, at burst 1\./);
  t.match(conclusions(sweepResult(exampleHeader('none'), [own], [trip('dgram', 9_000), trip('af_xdp', 9_000)])).join('\n'), /by dgram, at burst 1: they cannot be told apart here, rounds overlap\.$/);
  t.equal(ownShare(own), 0.05);
  t.equal(ownShare({ ...own, userNs: null, systemNs: null }), undefined);
});

t.test('a table shows what a packet costs, and round trips with their loss', async (t) => {
  const costly = { ...cell('af_xdp', 32, [1e6]), sent: 100, received: 75, loss: [{ name: 'rx_ring_full', packets: 25 }], userNs: spread([20]), systemNs: spread([380]), syscalls: spread([1 / 32]) };
  const unknown = { ...cell('dgram', 32, [1e5]), userNs: null, systemNs: null, syscalls: null };
  const trips: LatencyCell = { path: 'af_xdp', burst: 32, frame: 64, kind: 'round-trip', offered: 20_000, samples: 10, sent: 100, returned: 98, p50: spread([1e4, 2e4, 4e4]), p99: spread([5e4]), p999: spread([6e4]) };
  const text = sweepTables(sweepResult(exampleHeader('none'), [costly, unknown], [trips]), { width: 80, colour: false });
  t.match(text, /^af_xdp +32 +400 +5 % +0\.031 +- +- +25 %$/m);
  t.match(text, /^dgram +32 +- +- +- +- +- +0 %$/m);
  t.match(text, /^af_xdp +32 +20\.0 +50\.0 +60\.0 +10\.0-40\.0 +60\.0-60\.0 +2\.00 %$/m);
  t.match(text, /greatest loss 25 %\s+\(af_xdp\s+at burst 32, in rx_ring_full\)/);
});

t.test('a table keeps to its width, and loses no path to it', async (t) => {
  const notes = { ...exampleHeader('x'), notes: [] };
  const result = sweepResult(notes, exampleResult().cells, exampleResult().latency);
  for (const width of [24, 40, 60, 80, 120]) {
    const text = sweepTables(result, { width, colour: false });
    t.same(text.split('\n').filter((line) => line.length > width), [], `width ${width}`);
    for (const path of ['af_xdp', 'raw socket', 'dgram']) t.ok(text.includes(path), `${path} at width ${width}`);
  }
});

t.test('a table shows medians, ratios and what was left out', async (t) => {
  const refused: SweepCell = { path: 'raw socket', burst: 1, frame: 64, direction: 'send', status: 'missing', reason: 'no rights: run as root' };
  const text = sweepTables(sweep([0.5, 1, 1.5, 2], [...BURSTS.map((burst) => cell('dgram', burst, [1e5])), refused]), { width: 80, colour: false });
  t.match(text, /^ {3}32 +1\.50 {2}15× /m);
  t.match(text, /^64-byte frames, send: Mpps \(median of 5 rounds\), × of dgram$/m);
  const alone = sweepTables(sweep([0.5, 1, 1.5, 2], []), { width: 80, colour: false });
  t.match(alone, /^64-byte frames, send: Mpps \(median of 5 rounds\)$/m, 'and no such title where there is nothing to compare with');
  t.match(sweepTables(sweep([0.5, 1, 1.5, 2]), { width: 20, colour: false }), /Mpps\s\(median\sof\s5\srounds\)\n/, 'or no room for it');
  t.match(text, /Left out:\nraw socket \(1 cell\): no rights: run as root/);
});

t.test('colour only on a terminal, and not with NO_COLOR', async (t) => {
  t.same(tableStyle({ isTTY: true, columns: 100 }, {}), { width: 100, colour: true });
  t.same(tableStyle({}, {}), { width: 80, colour: false });
  t.equal(tableStyle({ isTTY: true }, { NO_COLOR: '1' }).colour, false);
  t.equal(tableStyle({ isTTY: true }, { NO_COLOR: '' }).colour, true, 'an empty NO_COLOR means nothing (no-color.org)');
  t.equal(tableStyle({ isTTY: true }, { TERM: 'dumb' }).colour, false);
  t.match(sweepTables(exampleResult(), { width: 80, colour: true }), /\u001b\[1;32m/);
});

t.test('no string of the result steers the terminal', async () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    const refused: SweepCell = { path: text, burst: 1, frame: 64, direction: 'send', status: 'missing', reason: `${text}\u001b[2J` };
    const shown = sweepTables(sweepResult({ ...exampleHeader(text), notes: [text] }, [refused]), { width: 60, colour: false });
    return !/[\p{Cc}\p{Cf}]/u.test(shown.replace(/\n/g, ''));
  }));
});

/** RFC 4180, read back. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [];
  for (const match of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    if (rows.length === 0 || match.index === 0) rows.push([]);
    rows[rows.length - 1].push(match[1]?.replace(/""/g, '"') ?? match[2]);
    if (match[3] === '\r\n') rows.push([]);
  }
  return rows.slice(0, -1);
}

t.test('CSV: every row has the head\'s columns, figures come back exactly', async (t) => {
  const result = exampleResult();
  const [head, ...rows] = readCsv(sweepCsv(result));
  t.equal(rows.length, result.cells.length);
  t.ok(rows.every((row) => row.length === head.length));
  const at = head.indexOf('packets_per_second_median');
  t.same(rows.map((row) => row[at]), result.cells.map((one) => one.status === 'measured' ? String(one.packetsPerSecond.median) : ''));
  t.equal(readCsv(latencyCsv(result)).length, result.latency.length + 1);
});

t.test('CSV: no text breaks a row or is a formula', async () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('=1+1', ' @x', '+a"b,c', '-\n=')), (text) => {
    const [head, row] = readCsv(sweepCsv(sweepResult(exampleHeader('x'), [{ ...cell(text, 1, [1]), loss: [{ name: text, packets: 1 }] }])));
    return row.length === head.length && !/^\s*[=+\-@]/.test(row[0]);
  }));
});

t.test('text', async (t) => {
  t.same([0, 0.0039, 0.09996, 1.937, 9.999, 19.4, 19400, 1e-9, Infinity].map(figure), ['0', '0.00390', '0.100', '1.94', '10.0', '19.4', '19400', '1.00e-9', '∞']);
  t.same([14.2, 1.44, 0.834, 9.96].map(times), ['14×', '1.4×', '0.83×', '10×']);
  t.same([0, 0.00001, 0.0123, 0.5, -0.00001].map(percent), ['0 %', '< 0.01 %', '1.23 %', '50 %', '> −0.01 %']);
  t.equal(count(1234567), '1\u202F234\u202F567');
  t.equal(count(-123456), '-123\u202F456');
  t.equal(printable('a\u001b[31m\u202e\n', 3), 'a\uFFFD[…');
  t.equal(escapeHtml(`<a href="x" title='y'>&`), '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;');
});

t.test('axes hold their values and their ticks rise', async () => {
  const positive = fc.double({ min: 1e-9, max: 1e14, noNaN: true });
  fc.assert(fc.property(positive, positive, (a, b) => {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    return [linearAxis(high), logAxis(low, high)].every((axis) => axis.ticks.length >= 2 && axis.ticks.length < 40 &&
      axis.ticks.every((tick, index) => index === 0 || tick > axis.ticks[index - 1]) && axis.place(high) <= 1 + 1e-6 && axis.place(low) >= -1e-6);
  }));
});

t.test('a known path keeps its look, and no two of the first six share one', async (t) => {
  const looks = looksOf(['other', 'dgram', 'memory ring', 'af_xdp']);
  t.same(looks.get('dgram'), looksOf(['dgram']).get('dgram'));
  const six = [...looksOf(['af_xdp', 'af_packet ring', 'raw socket', 'dgram', 'memory ring', 'memory null']).values()];
  for (const part of ['light', 'dark', 'marker'] as const) t.equal(new Set(six.map((look) => look[part])).size, 6, part);
  t.equal(new Set(six.map((look) => look.dash.join())).size, 6, 'dash');
});

/** WCAG 2.1: relative luminance of "#rrggbb", and the contrast of two. */
function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

t.test('each line has a contrast of 3:1 on the pages and cards it is drawn on', async (t) => {
  const grounds = { light: ['#ffffff', '#f6f7f9'], dark: ['#0d1117', '#161b22'] };
  for (const look of looksOf(['af_xdp', 'af_packet ring', 'raw socket', 'dgram', 'memory ring', 'memory null']).values()) {
    for (const theme of ['light', 'dark'] as const) {
      for (const ground of grounds[theme]) t.ok(contrast(look[theme], ground) >= 3, `${look[theme]} on ${ground}`);
    }
  }
});
