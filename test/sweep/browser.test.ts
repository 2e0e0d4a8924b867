/**
 * What report.html does when it is pointed at, in a browser: chromium without a window loads the page with one more script,
 * which moves the pointer, clicks, and writes what the page showed then into it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { sweepReport } from '../../lib/sweep/report.js';
import { exampleResult } from './example.js';

const found = ['chromium', 'chromium-browser', 'google-chrome'].find(name => spawnSync(name, ['--version']).status === 0);
const browser = { skip: found === undefined && 'needs a browser: apt-get install chromium' };

/** What the page showed at one moment. */
interface Seen { readonly tips: readonly string[]; readonly bold: readonly string[]; readonly legend: readonly string[]; readonly titles: readonly string[]; readonly foot: string; readonly plots: number }

/** Runs in the page. Its `look` is what is asked about afterwards. */
const VISITOR = String.raw`addEventListener('load', () => {
  const seen = {};
  const shown = (nodes) => [...nodes].filter((node) => !node.hidden).map((node) => node.textContent);
  const first = () => document.querySelector('.u-over');
  const look = (name) => {
    seen[name] = {
      tips: shown(document.querySelectorAll('.tip')), bold: [...document.querySelectorAll('.tip .shown')].map((node) => node.textContent),
      legend: [...document.querySelectorAll('label.shown')].map((node) => node.textContent.trim()), titles: [...document.querySelectorAll('.which')].map((node) => node.textContent),
      foot: document.querySelector('.log').checked + ' ' + document.querySelector('.note').textContent, plots: document.querySelectorAll('.u-over').length,
    };
  };
  const point = (kind, x, y) => {
    const box = first().getBoundingClientRect();
    first().dispatchEvent(new MouseEvent(kind, { bubbles: true, clientX: box.left + box.width * x, clientY: box.top + box.height * y }));
  };
  // Down the chart at one burst until a line is near: which one it is depends on the figures.
  const findLine = () => {
    point('mouseenter', 0.5, 0);
    for (let y = 0; y <= 1; y += 0.02) {
      point('mousemove', 0.5, y);
      if (document.querySelector('label.shown')) return;
    }
  };
  const input = (selector) => document.querySelector(selector);
  look('before');
  findLine();
  look('pointed');
  point('mouseleave', -1, -1);
  look('left');
  const label = input('input[name=path]').parentElement;
  label.dispatchEvent(new MouseEvent('mouseenter'));
  look('legend');
  label.dispatchEvent(new MouseEvent('mouseleave'));
  input('input[name=path]').click();
  findLine();
  look('hidden');
  input('input[name=path]').click();
  input('.log').click();
  look('scale');
  input('input[name=direction]:not(:checked)').click();
  look('direction');
  for (const each of document.querySelectorAll('input[name=path]')) each.click();
  look('nothing');
  const result = document.createElement('pre');
  result.id = 'seen';
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});`;

/** The page and the visitor, whom its policy would not let in. */
function visited(page: string): string {
  const hash = `'sha256-${createHash('sha256').update(VISITOR).digest('base64')}'`;
  const open = page.replace(/script-src /, `script-src ${hash} `).replace('</body>', () => `<script>${VISITOR}</script></body>`);
  if (!open.includes(hash) || !open.includes('<script>addEventListener(\'load\'')) throw new Error('the page is not what it was');
  return open;
}

function seenIn(folder: string): Record<string, Seen> {
  const file = join(folder, 'report.html');
  writeFileSync(file, visited(sweepReport(exampleResult())));
  const { stdout, stderr } = spawnSync(found!, [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--no-first-run', '--disable-sync', '--no-proxy-server',
    `--user-data-dir=${join(folder, 'browser')}`, '--window-size=1200,900', '--virtual-time-budget=5000', '--dump-dom', `file://${file}`,
  ], { encoding: 'utf8', timeout: 90_000, env: { ...process.env, HOME: folder, DBUS_SESSION_BUS_ADDRESS: '/dev/null' } });
  const text = /<pre id="seen">(.*?)<\/pre>/s.exec(stdout)?.[1];
  if (text === undefined) throw new Error(`the visitor did not come to its end: ${stderr.slice(-2000)}`);
  return JSON.parse(text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')) as Record<string, Seen>;
}

t.test('a chart that is pointed at says what stands there, and shows that path\'s band; the choices redraw', browser, async t => {
  const seen = seenIn(t.testdir({}));
  const { before, pointed, left, legend, hidden, scale, direction, nothing } = seen as Record<'before' | 'pointed' | 'left' | 'legend' | 'hidden' | 'scale' | 'direction' | 'nothing', Seen>;
  t.match(before, { tips: [], legend: [] });
  t.ok(before.plots >= 3, `${before.plots} plots`);

  t.equal(pointed.tips.length, 1, 'one tip');
  t.match(pointed.tips[0], /^burst 16(.+?: [\d.]+ \([\d.]+ to [\d.]+\)){4}$/, 'the burst in the middle, and of each path of this panel its median and range');
  t.equal(pointed.legend.length, 1, 'one path is pointed at');
  t.equal(pointed.bold.length, 1);
  t.ok(pointed.bold[0]!.startsWith(pointed.legend[0]!), `${pointed.bold[0]} is ${pointed.legend[0]}'s`);
  t.match(left, { tips: [], legend: [] }, 'and nothing once the pointer has left');

  t.match(legend, { tips: [], legend: ['af_xdp'] }, 'a path that is pointed at in the legend');
  t.match(hidden.tips, [/^burst \d+(.+?: [\d.]+ \([\d.]+ to [\d.]+\)){3}$/], 'one that is hidden is in no tip');
  t.notMatch(hidden.tips[0], /af_xdp:/);
  t.not(scale.foot.split(' ')[0], before.foot.split(' ')[0], 'the scale');
  t.same([before.titles[0], direction.titles[0]].map(title => title!.replace(/^\d+/, 'N')), ['N-byte frames, send', 'N-byte frames, receive']);
  t.equal(nothing.plots, 0);
  t.match(nothing.foot, /Nothing was measured here, or every path is hidden\./);
});
