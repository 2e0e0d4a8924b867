/**
 * The script inside report.html, as text: it draws what `chartData` computed, with uPlot. It builds nodes with
 * `textContent` only, so no string of the result is ever read as markup, and it loads nothing.
 */
export const REPORT_SCRIPT = String.raw`(() => {
'use strict';
const data = JSON.parse(document.getElementById('chart-data').textContent);
const darkPage = matchMedia('screen and (prefers-color-scheme: dark)');
const hidden = new Set();
const scales = new Map();
let plots = [];
let printing = false;
// The path whose band is shown: the one pointed at in a chart or the legend. All bands at once would hide each other.
let shown = null;

const make = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const chosen = (name) => document.querySelector('input[name=' + name + ']:checked')?.value;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => darkPage.matches && !printing;
const colour = (path) => data.looks[path][isDark() ? 'dark' : 'light'];
const present = (value) => value !== null && value !== undefined;

// Three digits: kept in a tip (0.100), shortened on an axis (0.1).
function figure(value) {
  if (!present(value) || value === 0) return present(value) ? '0' : '-';
  const rounded = Number(value.toPrecision(3));
  return rounded.toFixed(Math.min(20, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))))));
}
const tickLabel = (value) => String(Number(value.toPrecision(3)));

function valuesOf(lines) {
  return lines.flatMap((line) => [...line.values, ...line.low, ...line.high]).filter(present);
}

// One y scale for all panels of a chart; a log scale has a foot just below the least value that has a place on it.
function yScale(lines, logarithmic, floor) {
  const all = valuesOf(lines);
  const positive = all.filter((value) => value > 0 && value >= floor);
  const top = positive.length ? Math.max(...positive) : 1;
  if (!logarithmic) return { distr: 1, range: () => [0, top * 1.08] };
  const foot = Math.min(...positive, top) / (all.length > positive.length ? 2 : 1.25);
  return { distr: 3, log: 10, foot, range: () => [foot, top * 1.25] };
}

function logTicks(low, high) {
  const steps = Math.log10(high / low) > 2.7 ? [1] : Math.log10(high / low) > 0.7 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const step of steps) {
      const tick = Number((step * 10 ** power).toPrecision(3));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

// Labels of bursts that would touch the one before are left out; the ticks stay.
function burstLabels(plot, ticks) {
  let last = -Infinity;
  return ticks.map((tick) => {
    const place = plot.valToPos(tick, 'x');
    if (place - last < 26) return '';
    last = place;
    return String(tick);
  });
}

function axes(chart, y) {
  const common = { stroke: css('--ink'), grid: { stroke: css('--rule'), width: 1 }, ticks: { stroke: css('--rule'), width: 1, size: 4 }, font: '12px system-ui, sans-serif', labelFont: '12px system-ui, sans-serif', labelSize: 18 };
  const vertical = { ...common, label: chart.unit, size: 50, values: (plot, ticks) => ticks.map(tickLabel) };
  if (y.distr === 3) Object.assign(vertical, { splits: (plot, axis, low, high) => logTicks(low, high), filter: (plot, ticks) => ticks });
  const horizontal = { ...common, label: 'burst (packets per call)', size: 30, splits: () => chart.bursts, filter: (plot, ticks) => ticks, values: burstLabels };
  return [horizontal, vertical];
}

// Three series per line: median, greatest, least; the last two only carry the band.
function seriesOf(chart, lines, y) {
  const series = [{}];
  const columns = [chart.bursts];
  const bands = [];
  const clamp = (values) => values.map((value) => present(value) && y.foot !== undefined ? Math.max(value, y.foot) : value);
  for (const line of lines) {
    const stroke = colour(line.path);
    const look = data.looks[line.path];
    series.push({ stroke: line.earlier ? stroke + 'a8' : stroke, width: line.earlier ? 1.3 : 2, dash: line.earlier ? [3, 4] : look.dash, points: { show: false }, spanGaps: false });
    series.push({ stroke: 'transparent', width: 0, points: { show: false } }, { stroke: 'transparent', width: 0, points: { show: false } });
    if (!line.earlier) bands.push({ series: [series.length - 2, series.length - 1], fill: () => stroke + (shown === line.path || lines.length === 1 ? '40' : '00') });
    columns.push(clamp(line.values), clamp(line.high), clamp(line.low));
  }
  return { series, columns, bands };
}

function drawMarkers(plot, chart, lines, y) {
  const context = plot.ctx;
  const pixels = devicePixelRatio || 1;
  for (const line of lines) {
    if (line.earlier) continue;
    const shape = new Path2D(data.looks[line.path].shape);
    line.values.forEach((value, index) => {
      if (!present(value)) return;
      context.save();
      context.translate(plot.valToPos(chart.bursts[index], 'x', true), plot.valToPos(Math.max(value, y.foot ?? value), 'y', true));
      context.scale(pixels * 0.85, pixels * 0.85);
      context.fillStyle = context.strokeStyle = colour(line.path);
      context.lineWidth = 1.8;
      context.fill(shape);
      context.stroke(shape);
      context.restore();
    });
  }
}

function showBand(path) {
  if (path === shown) return;
  shown = path;
  for (const label of document.querySelectorAll('input[name=path]')) label.parentElement.classList.toggle('shown', Number(label.value) === path);
  for (const plot of plots) plot.redraw(false);
}

// The line nearest to the pointer at its burst; none where all are far away.
function pointedAt(plot, lines) {
  const { idx: index, left, top } = plot.cursor;
  if (!present(index) || left < 0) return null;
  let best = { path: null, distance: 40 };
  for (const line of lines) {
    if (line.earlier || !present(line.values[index])) continue;
    const distance = Math.abs(plot.valToPos(line.values[index], 'y') - top);
    if (distance < best.distance) best = { path: line.path, distance };
  }
  return best.path;
}

function showTip(plot, chart, tip, lines) {
  const index = plot.cursor.idx;
  tip.hidden = !present(index) || plot.cursor.left < 0;
  if (tip.hidden) return;
  tip.replaceChildren(make('b', '', 'burst ' + chart.bursts[index]));
  for (const line of lines) {
    if (!present(line.values[index])) continue;
    const row = make('div', line.path === shown && !line.earlier ? 'shown' : '');
    const dot = make('i');
    dot.style.background = colour(line.path);
    row.append(dot, data.paths[line.path] + (line.earlier ? ' (earlier)' : '') + ': ' + figure(line.values[index]) + ' (' + figure(line.low[index]) + ' to ' + figure(line.high[index]) + ')');
    tip.append(row);
  }
  const half = plot.over.clientWidth / 2;
  tip.style.left = tip.style.right = '';
  if (plot.cursor.left < half) tip.style.left = plot.over.offsetLeft + plot.cursor.left + 12 + 'px';
  else tip.style.right = plot.root.clientWidth - plot.over.offsetLeft - plot.cursor.left + 12 + 'px';
  tip.style.top = '1.6rem';
}

function addFrame(holder, panel) {
  const frame = make('div', 'panel');
  if (panel.title) frame.append(make('h4', '', panel.title));
  holder.append(frame);
  return frame;
}

function drawPanel(chart, frame, panel, y) {
  const lines = panel.lines.filter((line) => !hidden.has(line.path));
  const tip = make('div', 'tip');
  tip.hidden = true;
  const { series, columns, bands } = seriesOf(chart, lines, y);
  const first = chart.bursts[0];
  const last = chart.bursts[chart.bursts.length - 1];
  const plot = new uPlot({
    width: Math.max(220, Math.floor(frame.clientWidth)), height: printing ? 210 : 280, padding: [8, 12, 0, 0],
    legend: { show: false }, axes: axes(chart, y), series, bands,
    scales: { x: { time: false, distr: 3, log: 2, range: () => [first / 1.2, last * 1.2] }, y },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    hooks: { draw: [(self) => drawMarkers(self, chart, lines, y)], setCursor: [(self) => { showBand(pointedAt(self, lines)); showTip(self, chart, tip, lines); }] },
  }, columns, frame);
  frame.append(tip);
  plots.push(plot);
}

function drawChart(chart) {
  const card = document.getElementById('chart-' + chart.id);
  const holder = card.querySelector('.panels');
  const lines = chart.panels.flatMap((panel) => panel.lines).filter((line) => !hidden.has(line.path));
  const any = valuesOf(lines).some((value) => value > 0 && value >= chart.floor);
  const logarithmic = any && (scales.get(chart.id) ?? chart.logarithmic);
  card.querySelector('.log').checked = logarithmic;
  card.querySelector('.note').textContent = !lines.length ? 'Nothing was measured here, or every path is hidden.'
    : logarithmic && valuesOf(lines).some((value) => value <= 0 || value < chart.floor) ? 'Values ' + (chart.floor ? 'below ' + chart.floor : 'of 0') + ' are drawn at the foot of the log scale.' : '';
  holder.replaceChildren();
  if (!lines.length) return;
  const y = yScale(lines, logarithmic, chart.floor);
  // All frames stand before the first plot asks how wide its frame is.
  const frames = chart.panels.map((panel) => addFrame(holder, panel));
  chart.panels.forEach((panel, index) => drawPanel(chart, frames[index], panel, y));
}

function draw() {
  for (const plot of plots) plot.destroy();
  plots = [];
  const view = data.views.find((one) => String(one.frame) === chosen('frame') && one.direction === chosen('direction')) ?? data.views[0];
  if (!view) return;
  for (const node of document.querySelectorAll('.which')) node.textContent = view.frame + '-byte frames' + (node.dataset.direction ? ', ' + view.direction : '');
  view.charts.forEach(drawChart);
}

for (const input of document.querySelectorAll('input[name=frame], input[name=direction]')) input.addEventListener('change', draw);
for (const input of document.querySelectorAll('input[name=path]')) {
  input.addEventListener('change', () => { if (input.checked) hidden.delete(Number(input.value)); else hidden.add(Number(input.value)); draw(); });
}
for (const input of document.querySelectorAll('input[name=path]')) {
  const show = () => showBand(Number(input.value));
  const hide = () => showBand(null);
  input.parentElement.addEventListener('mouseenter', show);
  input.parentElement.addEventListener('mouseleave', hide);
  input.addEventListener('focus', show);
  input.addEventListener('blur', hide);
}
for (const input of document.querySelectorAll('.log')) input.addEventListener('change', () => { scales.set(input.value, input.checked); draw(); });
darkPage.addEventListener('change', draw);
let width = innerWidth;
let pending = 0;
addEventListener('resize', () => {
  if (innerWidth === width || printing) return;
  width = innerWidth;
  clearTimeout(pending);
  pending = setTimeout(draw, 150);
});
let closed = [];
addEventListener('beforeprint', () => {
  printing = true;
  closed = [...document.querySelectorAll('details:not([open])')];
  for (const node of closed) node.open = true;
  document.querySelector('.charts').style.width = '178mm';
  draw();
});
addEventListener('afterprint', () => {
  printing = false;
  for (const node of closed) node.open = false;
  document.querySelector('.charts').style.width = '';
  draw();
});
draw();
})();
`;
