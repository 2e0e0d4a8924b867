import { createHash } from 'node:crypto';
import { Script } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { sweepReport, sweepSvg } from '../../lib/sweep/report.js';
import { REPORT_SCRIPT } from '../../lib/sweep/report_script.js';
import { frameBits, lineBits, sweepResult } from '../../lib/sweep/results.js';
import type { SweepResult } from '../../lib/sweep/results.js';
import { count, figure, gbps, mpps } from '../../lib/sweep/text.js';
import { exampleResult } from './example.js';
import { parseHtml } from './html.js';
import type { Parsed } from './html.js';

const HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '</script><script>alert(1)</script>', '</style><script>x</script>', '<!--', '--><b>', '&lt;', "'\u202e\u0000\u2028"];

/** The example with `text` in the place of every string that comes from a machine. */
function withText(text: string, base: SweepResult): SweepResult {
  const { header } = base;
  const cells = base.cells.map((cell) => {
    const path = cell.path === 'af_xdp' ? text : cell.path;
    return cell.status === 'missing' ? { ...cell, path, reason: text } : { ...cell, path, loss: cell.loss.map((counter) => ({ ...counter, name: text })) };
  });
  const latency = base.latency.map((cell) => ({ ...cell, path: cell.path === 'af_xdp' ? text : cell.path }));
  return sweepResult({ ...header, cpu: text, kernel: text, node: text, pollmode: text, link: text, mode: text, notes: [text] }, cells, latency);
}

function tags(parsed: Parsed): string {
  return parsed.elements.map(({ name }) => name).join(' ');
}

const few = sweepResult(exampleResult().header, exampleResult().cells.filter((cell) => cell.burst === 32 || cell.status === 'missing'), exampleResult().latency.slice(0, 9));

t.test('the page is well-formed and holds every figure of every cell', async (t) => {
  const result = exampleResult();
  const { text } = parseHtml(sweepReport(result));
  const missing: string[] = [];
  const want = (figureText: string): void => { if (!text.includes(figureText)) missing.push(figureText); };
  for (const cell of result.cells) {
    if (cell.status === 'missing') { want(cell.reason); continue; }
    const rate = cell.packetsPerSecond;
    for (const one of [rate.median, rate.min, rate.max]) [mpps(one), gbps(frameBits(one, cell.frame)), gbps(lineBits(one, cell.frame))].forEach(want);
    for (const one of [cell.userNs!, cell.systemNs!, cell.syscalls!]) [one.median, one.min, one.max].map(figure).forEach(want);
    [cell.sent, cell.received, cell.sent - cell.received, ...cell.loss.map(({ packets }) => packets)].map(count).forEach(want);
  }
  for (const cell of result.latency) for (const one of [cell.p50, cell.p99, cell.p999]) [one.median, one.min, one.max].map(figure).forEach(want);
  t.same(missing, []);
});

t.test('a table row stands for each cell and each latency cell', async (t) => {
  const result = exampleResult();
  const { elements } = parseHtml(sweepReport(result));
  const rows = elements.filter(({ name, attributes }) => name === 'th' && attributes.get('scope') === 'row');
  t.equal(rows.length, result.cells.length + result.latency.length);
});

t.test('no string becomes markup', async (t) => {
  const plain = tags(parseHtml(sweepReport(withText('plain', few), withText('plain', few))));
  const plainSvg = tags(parseHtml(sweepSvg(withText('plain', few))));
  for (const [index, text] of HOSTILE.entries()) {
    t.equal(tags(parseHtml(sweepReport(withText(text, few), withText(text, few)))), plain, `page ${index}`);
    t.equal(tags(parseHtml(sweepSvg(withText(text, few)))), plainSvg, `SVG ${index}`);
  }
  const tildeTags = tags(parseHtml(sweepReport(withText('~', few))));
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => tags(parseHtml(sweepReport(withText(`~${text}`, few)))) === tildeTags), { numRuns: 30 });
});

t.test('the CPU model is shown as it is', async (t) => {
  t.match(parseHtml(sweepReport(exampleResult(1, HOSTILE[0]))).text, HOSTILE[0]);
});

t.test('nothing is loaded from elsewhere, and only the two known scripts may run', async (t) => {
  const html = sweepReport(exampleResult());
  const { elements, raw } = parseHtml(html);
  const links = elements.flatMap(({ attributes }) => ['src', 'href', 'srcset', 'action', 'data', 'poster', 'xlink:href'].flatMap((name) => attributes.get(name) ?? []));
  t.same(links.filter((link) => !link.startsWith('#') && link !== 'data:,'), []);
  t.same(elements.filter(({ attributes }) => [...attributes.keys()].some((name) => name.startsWith('on'))), [], 'no inline handlers');
  const [style, data, ...scripts] = raw;
  t.notMatch(style, /url\(|@import/);
  t.equal(scripts.length, 2);
  const policy = elements.find(({ attributes }) => attributes.get('http-equiv') === 'Content-Security-Policy')?.attributes.get('content') ?? '';
  t.match(policy, /^default-src 'none'/);
  for (const script of scripts) t.ok(policy.includes(createHash('sha256').update(script).digest('base64')), 'its hash is in the policy');
  t.equal((JSON.parse(data) as { paths: string[] }).paths.length, 5);
  t.notMatch(REPORT_SCRIPT, /innerHTML|insertAdjacentHTML|document\.write|fetch\(|eval\(/);
  t.doesNotThrow(() => new Script(REPORT_SCRIPT), 'the script compiles');
});

t.test("uPlot's licence goes with it", async (t) => {
  t.match(sweepReport(few), /Permission is hereby granted[^]*var uPlot=/);
});

t.test('an earlier sweep adds two columns and lines of its own', async (t) => {
  const html = sweepReport(exampleResult(), exampleResult(0.5));
  const { raw, text } = parseHtml(html);
  const data = JSON.parse(raw[1]) as { views: { charts: { panels: { lines: { earlier: boolean }[] }[] }[] }[] };
  t.same(data.views[0].charts[0].panels[0].lines.map((line) => line.earlier), [false, false, false, false, true, true, true, true]);
  t.match(text, /earlierMpps/);
  t.match(text, /Compared with/);
});

t.test('the SVG loads nothing, has a title and follows the reader\'s theme', async (t) => {
  const svg = sweepSvg(exampleResult());
  const { elements, raw, text } = parseHtml(svg);
  t.equal(elements[0].attributes.get('role'), 'img');
  t.match(text, /AF_XDP sends 64-byte frames/);
  t.match(raw[0], /prefers-color-scheme:dark/);
  t.notMatch(svg.replace('http://www.w3.org/2000/svg', ''), /https?:|url\(|<script|NaN/);
});

t.test('system calls that could not be counted are no zero', async (t) => {
  const result = sweepResult(few.header, few.cells.map((cell) => cell.status === 'measured' ? { ...cell, syscalls: null } : cell));
  const { text, raw } = parseHtml(sweepReport(result));
  t.match(text, /not counted/);
  const data = JSON.parse(raw[1]) as { views: { charts: { id: string; panels: unknown[] }[] }[] };
  t.same(data.views[0].charts.find(({ id }) => id === 'syscalls')?.panels, []);
});
