/** The test runner's own arithmetic: what counts as passed, failed and skipped. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { ROOT } from './installed_helper.js';

interface Counts { pass: number; fail: number; skip: number; todo: number }
interface Ending { code: number | null; signal: string | null; timedOut?: string }
interface Report {
  readonly totals: Counts;
  summary(): string[];
  file(name: string): { write(text: string): void; close(ending: Ending, seconds: number): string };
}
const { TapReport } = await import(pathToFileURL(join(ROOT, '.scripts', 'tap_report.mjs')).href) as { TapReport: new (noSkips: boolean) => Report };

/** One file that prints this TAP and ends so. */
function report(tap: string, ending: Partial<Ending> = {}, noSkips = false): Report {
  const made = new TapReport(noSkips);
  const file = made.file('one.test.js');
  file.write(`TAP version 14\n${tap}`);
  file.close({ code: 0, signal: null, ...ending }, 1);
  return made;
}

const counts = (pass: number, fail: number, skip = 0, todo = 0): Counts => ({ pass, fail, skip, todo });
const NESTED = '# Subtest: outer\n    ok 1 - a\n    # Subtest: inner\n        not ok 1 - b\n        1..1\n    not ok 2 - inner\n    1..2\nnot ok 1 - outer\n1..1\n';

t.test('counts the leaves, once each', async t => {
  t.same(report('ok 1 - a\nok 2 - b\n1..2\n').totals, counts(2, 0));
  t.same(report(NESTED, { code: 1 }).totals, counts(1, 1));
  t.match(report(NESTED, { code: 1 }).summary().join('\n'), /FAILED one.test.js: outer > inner > b\n[^]*\n1 files, 1 passed, 1 failed, 0 skipped$/);
  t.same(report('not ok 1 - later # TODO soon\n1..1\n').totals, counts(0, 0, 0, 1));
});

t.test('a subtest that fails without a failed assertion is a failure', async t => {
  t.same(report('# Subtest: late\n    ok 1 - a\n    1..1\nnot ok 1 - late\n1..1\n', { code: 1 }).totals, counts(1, 1));
});

t.test('a file that breaks is a failure, whatever it printed before', async t => {
  t.same(report('ok 1 - a\n', { code: null, signal: 'SIGSEGV' }).totals, counts(1, 1));
  t.same(report('ok 1 - a\n1..1\n', { code: 7 }).totals, counts(1, 1));
  t.same(report('ok 1 - a\n1..1\n', { timedOut: '5 s' }).totals, counts(1, 1));
  t.same(report('ok 1 - a\n1..2\n').totals, counts(1, 1), 'a plan that was not kept');
  t.same(report('1..0\n').totals, counts(0, 1), 'no assertion at all');
});

t.test('skips are told with their reasons, and can be forbidden', async t => {
  const SKIPS = 'ok 1 - raw # SKIP needs root\nok 2 - zc # SKIP nothing on this host has zero-copy\nok 3 - a\n1..3\n';
  t.same(report(SKIPS).totals, counts(1, 0, 2));
  t.match(report(SKIPS).summary().join('\n'), /one.test.js: raw: needs root\n/);
  t.same(report(SKIPS, {}, true).totals, counts(1, 1, 1), 'only the reason on the list is allowed');
  t.same(report('1..0 # needs root\n').totals, counts(0, 0, 1), 'a file that skips as a whole');
  t.same(report('1..0 # needs root\n', {}, true).totals, counts(0, 1));
});
