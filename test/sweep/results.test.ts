import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { frameBits, lineBits, lost, parseSweepResult, readResults, sweepResult, unaccounted, writeResults } from '../../lib/sweep/results.js';
import type { MeasuredCell, SweepResult } from '../../lib/sweep/results.js';
import { latencyCsv, sweepCsv } from '../../lib/sweep/csv.js';
import { sweepReport, sweepSvg } from '../../lib/sweep/report.js';
import { sweepTables } from '../../lib/sweep/table.js';
import { exampleHeader, exampleResult } from './example.js';

/** A result of a few cells, so that a change of one value is likely to matter. */
function small(): SweepResult {
  const whole = exampleResult();
  const cells = whole.cells.filter((cell) => cell.burst >= 32 && cell.burst <= 128 && (cell.path === 'af_packet ring' || cell.path === 'dgram'));
  return sweepResult(whole.header, cells, whole.latency.slice(0, 3));
}

/** The result, or undefined for a refusal of the right kind; anything else is thrown on. */
function tryParse(value: unknown): SweepResult | undefined {
  try {
    return parseSweepResult(value);
  } catch (error) {
    if (error instanceof PollmodeError && error.code === 'EFORMAT') return undefined;
    throw error;
  }
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Replaces, or with `undefined` removes, the value that `steps` lead to: each step picks one of the children. */
function mutate(value: Json, steps: readonly number[], replacement: Json | undefined): Json | undefined {
  if (typeof value !== 'object' || value === null || steps.length === 0) return replacement;
  const keys = Object.keys(value);
  if (keys.length === 0) return replacement;
  const key = keys[steps[0] % keys.length];
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, Json>;
  const child = mutate(copy[key], steps.slice(1), replacement);
  if (child === undefined) delete copy[key];
  else copy[key] = child;
  return copy as Json;
}

t.test('what is written is read again', async (t) => {
  const result = exampleResult();
  t.same(parseSweepResult(JSON.parse(JSON.stringify(result))), result);
});

t.test('no value makes the reader fail but by EFORMAT', async (t) => {
  fc.assert(fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true }), (value) => tryParse(value) === undefined));
  let deep: unknown = [];
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];
  t.throws(() => parseSweepResult(deep), { code: 'EFORMAT' });
  t.throws(() => parseSweepResult({ format: 'pollmode-sweep', version: deep }), { code: 'EFORMAT' });
});

t.test('one changed value: EFORMAT, or a result that every output can show', async (t) => {
  const valid = JSON.parse(JSON.stringify(small())) as Json;
  const replacement = fc.oneof(fc.constant(undefined), fc.jsonValue() as fc.Arbitrary<Json>, fc.constantFrom(0, -1, 0.5, 1, 64, 1e15, 1e308, '', '__proto__', 'missing'));
  let accepted = 0;
  let refused = 0;
  fc.assert(fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), replacement, (steps, changed) => {
    const result = tryParse(mutate(valid, steps, changed));
    if (result === undefined) { refused++; return; }
    accepted++;
    for (const text of [sweepTables(result, { width: 60, colour: false }), sweepCsv(result), latencyCsv(result), sweepSvg(result), sweepReport(result)]) {
      if (/NaN|undefined|\[object/.test(text.replace(/<script>[^]*?<\/script>/g, ''))) throw new Error('a value without a figure was printed');
    }
  }), { numRuns: 300 });
  t.ok(accepted > 0 && refused > 0, `both happened: ${accepted} accepted, ${refused} refused`);
});

t.test('an error names the place, what was expected and what to do', async (t) => {
  const broken = JSON.parse(JSON.stringify(small())) as { cells: Record<string, unknown>[] };
  broken.cells[1].burst = 'x\u001b[2J';
  t.throws(() => parseSweepResult(broken), { code: 'EFORMAT', message: /cells\[1\]\.burst should be a whole number from 1 to 65536, but is "x\uFFFD\[2J".*pollmode sweep/ });
});

t.test('a place twice, and too many places, are refused', async (t) => {
  const result = small();
  t.throws(() => parseSweepResult({ ...result, cells: [...result.cells, result.cells[0]] }), { code: 'EFORMAT', message: /a place of its own/ });
  const many = Array.from({ length: 17 }, (_, index) => ({ ...result.cells[0], path: `p${index}` }));
  t.throws(() => parseSweepResult({ ...result, cells: many }), { code: 'EFORMAT', message: /at most 16 paths/ });
});

t.test('the medians of a file are not believed', async (t) => {
  const lying = JSON.parse(JSON.stringify(small())) as { cells: { status: string; packetsPerSecond: { median: number } }[] };
  const first = lying.cells.find((cell) => cell.status === 'measured');
  if (first) first.packetsPerSecond.median = 1e12;
  t.same(parseSweepResult(lying), small());
});

t.test('an empty sweep is a result that every output can show', async (t) => {
  const empty = parseSweepResult(JSON.parse(JSON.stringify(sweepResult(exampleHeader('none'), []))));
  t.match(sweepReport(empty), /No cell was measured/);
  t.match(sweepSvg(empty), /No cell was measured/);
  t.type(sweepTables(empty, { width: 80, colour: false }), 'string');
});

t.test('bits: 14.88 million 64-byte frames fill 10 Gbit/s at layer 1, 7.62 Gbit/s of frames', async (t) => {
  t.equal(Math.round(lineBits(14_880_952, 64) / 1e6), 10_000);
  t.equal(Math.round(frameBits(14_880_952, 64) / 1e6), 7619);
});

t.test('loss: what no counter names is left over', async (t) => {
  const cell = exampleResult().cells.find((one): one is MeasuredCell => one.status === 'measured' && one.loss.length > 0);
  if (cell === undefined) return t.fail('the example has a cell with loss');
  t.equal(lost(cell), cell.sent - cell.received);
  t.equal(unaccounted(cell) + cell.loss[0].packets, lost(cell));
});

t.test('files', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-sweep-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'new', 'results.json');
  writeResults(path, small());
  t.same(readResults(path), small());
  t.same(readdirSync(join(folder, 'new')), ['results.json'], 'no partial file stays');
  writeFileSync(join(folder, 'bad.json'), '{"format": ');
  t.throws(() => readResults(join(folder, 'bad.json')), { code: 'EFORMAT' });
  t.throws(() => readResults(join(folder, 'none.json')), { code: 'ENOTFOUND' });
  t.throws(() => readResults(folder), { code: 'ENOTFOUND' });
  t.throws(() => writeResults(join(path, 'below-a-file.json'), small()), { code: 'ESYSCALL' });
});
