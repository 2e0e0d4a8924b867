/** The report's sections as HTML. Every string of the result passes `escapeHtml`; everything else is written here. */
import type { ChartData } from './chart.js';
import { conclusions } from './conclusion.js';
import type { SweepHeader, SweepResult } from './model.js';
import { directionsOf, framesOf } from './model.js';
import { markerPath } from './palette.js';
import type { Look } from './palette.js';
import { kinds } from './report_tables.js';
import { missingReasons } from './table.js';
import { count, escapeHtml, printable } from './text.js';

export function findings(result: SweepResult): string {
  const items = conclusions(result).map((sentence) => `<li>${escapeHtml(sentence)}</li>`);
  return items.length === 0 ? '<p>No cell was measured.</p>' : `<ul class="findings">${items.join('')}</ul>`;
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
  return `<form class="controls" autocomplete="off">${pick('Frame bytes', 'frame', framesOf(result).map(String))}${pick('Direction', 'direction', directionsOf(result))}` +
    `<fieldset><legend>Paths</legend>${paths.join('')}</fieldset>${compared ? '<span class="unit">Thin lines without markers: the earlier sweep.</span>' : ''}</form>`;
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
    const wide = latency || chart.id === 'cpu' ? ' wide' : '';
    const which = latency ? `<span class="which"></span>; ${latencyNote(result)}` : '<span class="which" data-direction="1"></span>';
    return `<section class="chart${wide}" id="chart-${chart.id}" aria-label="${chart.title}"><header><h3>${chart.title}</h3>` +
      `<label><input type="checkbox" class="log" value="${chart.id}" autocomplete="off"> log scale</label></header>` +
      `<p class="unit">${chart.unit} over burst (packets per call, log2 scale); ${which}</p><div class="panels" aria-hidden="true"></div><p class="note"></p></section>`;
  });
  return `<div class="charts">${cards.join('\n')}</div><noscript><p>The charts need JavaScript; the tables below hold the same figures.</p></noscript>`;
}

function latencyNote(result: SweepResult): string {
  const offered = result.latency.map((cell) => Math.round(cell.offered));
  if (offered.length === 0) return 'not measured in this sweep';
  const [low, high] = [Math.min(...offered), Math.max(...offered)];
  return `${kinds(result.latency)}, at an offered load of ${low === high ? count(low) : `${count(low)} to ${count(high)}`} packets/s`;
}

export function leftOut(result: SweepResult): string {
  const items = [
    ...missingReasons(result).map(({ path, reason, cells }) => `${path} (${cells} ${cells === 1 ? 'cell' : 'cells'}): ${reason}`),
    ...result.header.notes,
  ];
  return items.length === 0 ? '<p>Nothing: every cell of the grid was measured.</p>' : `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>`;
}

/** ISO 8601 as people write it: 2026-01-31 12:00 UTC. */
function day(date: string): string {
  return `${date.slice(0, 10)} ${date.slice(11, 16)} UTC`;
}

function cpu(number: number): string {
  return number < 0 ? 'no CPU' : `CPU ${number}`;
}

/** For a reader who has never measured packets. */
export const HOW_TO_READ = `
<dl>
<dt><b>Burst</b></dt><dd>How many packets a program hands over in one call. A call has a price that does not depend on how many packets it carries
(entering the kernel, touching shared indices, ringing a doorbell). With 32 packets in a call each of them pays a 32nd of it. So the rate rises
with the burst, and flattens once the price of the packet itself is all that is left. For dgram a burst is the sends of one turn of the event loop:
each is still a system call of its own.</dd>
<dt><b>Why packets per second, and not bits</b></dt><dd>The work is per packet, hardly per byte: a header has to be looked at, whether 18 or 1472 bytes follow it.
Small frames are therefore the hard case. Frame sizes count the 4 bytes of check sequence (RFC 2544): 64 means 60 bytes in the buffer.
<i>Frame bits</i> count the frame with it; <i>layer 1</i> counts 20 bytes more per frame for preamble and gap, which is what a link's speed is named by.
On a 10 Gbit/s link 14.88 million 64-byte frames fit in a second.</dd>
<dt><b>need-wakeup</b></dt><dd>AF_XDP shares rings with the kernel, so packets change hands without a system call, but somebody has to tell the kernel to look.
With need-wakeup the kernel sets a flag in the ring when it wants to be called, and the program calls only then. The chart of system calls per packet shows how often that was.</dd>
<dt><b>CPU time</b></dt><dd>Of the thread that sends, or receives, per packet: <i>user</i> is the program itself, <i>system</i> what the kernel did on its behalf.
Work that the kernel does in a software interrupt on another core is not in it.</dd>
<dt><b>p50, p99, p99.9</b></dt><dd>Half of the packets were faster than p50; one in a hundred was slower than p99, one in a thousand slower than p99.9.
Latency depends on the load: it was measured at the load stated, below what the path can carry. A larger burst waits longer for its last packet.</dd>
<dt><b>Median and range</b></dt><dd>Each cell was measured in several rounds. The line is the median; the band runs from the least to the greatest round.
Where two bands overlap, the rounds do not tell the two paths apart.</dd>
<dt><b>Loss</b></dt><dd>What was sent and did not arrive, and the counter that names the place. A fast sender before a slow receiver loses packets; that is no fault of the link.</dd>
</dl>`;
