/** The report's sections as HTML. Every string of the result passes `escapeHtml`; everything else is written here. */
import type { ChartData } from './chart.js';
import { conclusions } from './conclusion.js';
import type { SweepHeader, SweepResult } from './model.js';
import { directionsOf, framesOf, pathsOf } from './model.js';
import { markerPath } from './palette.js';
import type { Look } from './palette.js';
import { pathExplained } from './report_help.js';
import { missingReasons } from './table.js';
import { count, escapeHtml, printable } from './text.js';

/** The first sentence is what the page says; the others stand below it. */
export function findings(result: SweepResult): string {
  const [first, ...others] = conclusions(result).map(escapeHtml);
  if (first === undefined) return '<p>No cell was measured.</p>';
  return `<p class="lead">${first}</p>${others.length === 0 ? '' : `<ul class="findings">${others.map((sentence) => `<li>${sentence}</li>`).join('')}</ul>`}`;
}

/** What a reader has to know before the figures. */
export function warnings(result: SweepResult): string {
  const { notes } = result.header;
  return notes.length === 0 ? '' : `<div class="warnings">${notes.map((note) => `<p>${escapeHtml(note)}</p>`).join('')}</div>`;
}

/** What was done, for a reader who has never measured packets, and each path in a line. */
export function introduction(result: SweepResult): string {
  const { header } = result;
  const paths = pathsOf(result).map((path) => `<div><dt>${escapeHtml(printable(path, 40))}</dt><dd>${pathExplained(path)}</dd></div>`);
  return `<p>One thread sends network packets as fast as it can, another on a core of its own receives them; between them lies a link of this machine only (${escapeHtml(header.link)}).
That is done by each of these ways, called paths, and with more and more packets handed over in one call: the burst.</p>
<dl class="paths">${paths.join('')}</dl>
<p>Measured on ${escapeHtml(header.cpu)} with ${count(header.cores)} ${header.cores === 1 ? 'core' : 'cores'}, Linux ${escapeHtml(header.kernel)}; more on it <a href="#machine">below</a>.</p>`;
}

export function facts(header: SweepHeader, earlier?: SweepHeader): string {
  const rows: [string, string][] = [
    ['CPU', `${header.cpu}, ${header.cores} ${header.cores === 1 ? 'core' : 'cores'}`], ['Kernel', `Linux ${header.kernel}`],
    ['Software', `pollmode ${header.pollmode}, Node.js ${header.node}`], ['Link', header.link],
    ['AF_XDP mode', header.needWakeup === null ? header.mode : `${header.mode}; need-wakeup ${header.needWakeup ? 'on' : 'off'}`],
    ['Pinned to', `sender ${cpu(header.senderCpu)}, receiver ${cpu(header.receiverCpu)}`],
    ['Each cell', `${header.rounds} × ${header.secondsPerCell} s after ${header.warmupSeconds} s of warm-up`], ['Date', day(header.date)],
  ];
  if (earlier !== undefined) rows.push(['Compared with', `${day(earlier.date)}: pollmode ${earlier.pollmode}, Linux ${earlier.kernel}, ${earlier.cpu}`]);
  return `<dl class="facts">${rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>`;
}

/** Which view the charts show, and the legend, whose entries hide and show a path. */
export function controls(result: SweepResult, data: ChartData, looks: readonly Look[], compared: boolean): string {
  const pick = (title: string, name: string, values: readonly string[]): string => `<fieldset class="pick"><legend>${title}</legend>` +
    values.map((value, index) => `<label><input type="radio" name="${name}" value="${value}"${index === 0 ? ' checked' : ''}>${value}</label>`).join('') + '</fieldset>';
  const paths = data.paths.map((path, index) => `<label><input type="checkbox" name="path" value="${index}" checked autocomplete="off">${swatch(looks[index], index)}<span>${escapeHtml(printable(path, 40))}</span></label>`);
  return `<form class="controls" autocomplete="off">${pick('Frame size in bytes', 'frame', framesOf(result).map(String))}${pick('Direction', 'direction', directionsOf(result))}` +
    `<fieldset><legend>Paths</legend>${paths.join('')}</fieldset><span class="unit">Point at a path to see how far its rounds lie apart.</span>${compared ? '<span class="unit">Thin lines without markers: the earlier sweep.</span>' : ''}</form>`;
}

function swatch(look: Look, index: number): string {
  const dash = look.dash.length === 0 ? '' : ` stroke-dasharray="${look.dash.join(' ')}"`;
  return `<svg class="swatch" viewBox="0 0 38 14" aria-hidden="true"><path d="M1 7h36" fill="none" stroke="var(--p${index})" stroke-width="2"${dash}/>` +
    `<path d="${markerPath(look.marker, 19, 7)}" fill="var(--p${index})" stroke="var(--p${index})"/></svg>`;
}

/** Empty cards that the script fills; titles and units stand in them without it. */
export function chartCards(data: ChartData, result: SweepResult): string {
  const charts = data.views[0]?.charts ?? [];
  const cards = charts.map((chart) => {
    const latency = chart.id === 'latency';
    const wide = chart.panels.length > 1 || latency || chart.id === 'rate' ? ' wide' : '';
    const which = latency ? `<span class="which"></span>, ${latencyNote(result)}` : '<span class="which" data-direction="1"></span>';
    return `<section class="chart${wide}" id="chart-${chart.id}" aria-label="${chart.title}"><header><h3>${chart.title}</h3>` +
      `<label><input type="checkbox" class="log" value="${chart.id}" autocomplete="off"> log scale</label></header>` +
      `<p class="unit">${which}</p><div class="panels" aria-hidden="true"></div><p class="note"></p></section>`;
  });
  return `<div class="charts">${cards.join('\n')}</div><noscript><p>The charts need JavaScript; the tables below hold the same figures.</p></noscript>`;
}

function latencyNote(result: SweepResult): string {
  const offered = result.latency.map((cell) => Math.round(cell.offered));
  if (offered.length === 0) return 'not measured in this sweep';
  const [low, high] = [Math.min(...offered), Math.max(...offered)];
  return `there and back, at an offered load of ${low === high ? count(low) : `${count(low)} to ${count(high)}`} packets/s`;
}

export function leftOut(result: SweepResult): string {
  const items = missingReasons(result);
  return items.length === 0 ? '<p>Nothing: every cell of the grid was measured.</p>' : `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>`;
}

/** ISO 8601 as people write it: 2026-01-31 12:00 UTC. */
function day(date: string): string {
  return `${date.slice(0, 10)} ${date.slice(11, 16)} UTC`;
}

function cpu(number: number): string {
  return number < 0 ? 'no CPU' : `CPU ${number}`;
}
