/** `report.html`: one file that needs nothing else, with uPlot inside it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PollmodeError } from '../errors.js';
import { chartData } from './chart.js';
import type { SweepResult } from './model.js';
import { looksOf, markerPath } from './palette.js';
import { HOW_TO_READ, SCALING_EXPLAINED } from './report_help.js';
import { chartCards, controls, facts, findings, introduction, leftOut, warnings } from './report_page.js';
import { REPORT_SCRIPT } from './report_script.js';
import { reportStyle } from './report_style.js';
import { cellTables, latencyTables, scalingTable } from './report_tables.js';
import { scalingChart } from './scaling_chart.js';
import { escapeHtml, scriptJson } from './text.js';

export { sweepSvg } from './svg.js';

/**
 * The whole page. `earlier` is another sweep to lay under this one: its lines are thin and dotted, its rates stand in
 * two more columns. Throws ENOTFOUND where the uplot package is not installed.
 */
export function sweepReport(result: SweepResult, earlier?: SweepResult): string {
  const data = chartData(result, earlier);
  const looks = [...looksOf(data.paths).values()];
  const drawn = { ...data, looks: looks.map((look) => ({ ...look, shape: markerPath(look.marker, 0, 0) })) };
  const chartLibrary = uplot();
  const body = `<h1>Burst size and packet rate: AF_XDP against kernel sockets</h1>
${findings(result)}
${warnings(result)}
${introduction(result)}
<h2 id="charts">Charts</h2>
${controls(result, data, looks, earlier !== undefined)}
${chartCards(data, result)}
${scaling(result)}<h2 id="left-out">What was left out</h2>
${leftOut(result)}
<h2 id="machine">Machine and mode</h2>
${facts(result.header, earlier?.header)}
<div class="tables">
<h2 id="figures">Every figure</h2>
${cellTables(result, earlier)}
${latencyTables(result)}
${scalingTable(result)}
</div>
<h2 id="reading">How to read this</h2>${HOW_TO_READ}
<footer>Made by pollmode ${escapeHtml(result.header.pollmode)}. The raw figures of each round are in results.json beside this file. Charts by uPlot (MIT licence, in the source of this page).</footer>`;
  return page(body, `${chartLibrary.style}\n${reportStyle(looks)}`, [chartLibrary.script, REPORT_SCRIPT], scriptJson(drawn), chartLibrary.licence);
}

/** Empty where it was not measured. */
function scaling(result: SweepResult): string {
  if (result.scaling.length === 0) return '';
  return `<h2 id="scaling">Queues, lcores and idle policies</h2>
${SCALING_EXPLAINED}
<section class="chart wide" aria-label="Queues, lcores and idle policies">${scalingChart(result)}</section>
`;
}

function page(body: string, style: string, scripts: readonly string[], data: string, licence: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src ${scripts.map(hash).join(' ')}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Burst size and packet rate: pollmode sweep</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
${body}
<script type="application/json" id="chart-data">${data}</script>
<!-- uPlot, below:
${licence}
-->
${scripts.map((script) => `<script>${script}</script>`).join('\n')}
</body>
</html>
`;
}

/** The page runs these scripts and no other, whatever a string in it manages to become. */
function hash(script: string): string {
  return `'sha256-${createHash('sha256').update(script).digest('base64')}'`;
}

/** uPlot's own files. Its licence asks for the notice in every copy. */
function uplot(): { script: string; style: string; licence: string } {
  const require = createRequire(import.meta.url);
  const file = (name: string): string => readFileSync(require.resolve(`uplot/${name}`), 'utf8');
  try {
    return { script: file('dist/uPlot.iife.min.js'), style: file('dist/uPlot.min.css'), licence: file('LICENSE').replace(/--/g, '- -') };
  } catch (cause) {
    throw new PollmodeError('ENOTFOUND', 'The report needs the package uplot, which pollmode depends on: run `npm install` in its folder.', { cause });
  }
}
