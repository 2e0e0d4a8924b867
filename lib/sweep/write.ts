/** The report folder: what a sweep leaves on disk. */
import { join } from 'node:path';
import { latencyCsv, scalingCsv, sweepCsv } from './csv.js';
import { sweepReport } from './report.js';
import { writeResults, writeWhole } from './results.js';
import type { SweepResult } from './results.js';
import { sweepSvg } from './svg.js';

/** The paths of the files written; `latency` and `scaling` are undefined where none was measured. */
export interface ReportFiles {
  readonly json: string;
  readonly csv: string;
  readonly latency: string | undefined;
  readonly scaling: string | undefined;
  readonly svg: string;
  readonly html: string;
}

/**
 * Writes results.json, results.csv, latency.csv, scaling.csv, sweep.svg and report.html into `folder`, each whole or not at all, the
 * JSON first: with it the others can be made again. Throws ESYSCALL, and ENOTFOUND where uplot is missing.
 */
export function writeReport(folder: string, result: SweepResult, earlier?: SweepResult): ReportFiles {
  const latency = result.latency.length === 0 ? undefined : join(folder, 'latency.csv');
  const scaling = result.scaling.length === 0 ? undefined : join(folder, 'scaling.csv');
  const files = { json: join(folder, 'results.json'), csv: join(folder, 'results.csv'), latency, scaling, svg: join(folder, 'sweep.svg'), html: join(folder, 'report.html') };
  writeResults(files.json, result);
  writeWhole(files.csv, sweepCsv(result));
  if (latency !== undefined) writeWhole(latency, latencyCsv(result));
  if (scaling !== undefined) writeWhole(scaling, scalingCsv(result));
  writeWhole(files.svg, sweepSvg(result));
  writeWhole(files.html, sweepReport(result, earlier));
  return files;
}
