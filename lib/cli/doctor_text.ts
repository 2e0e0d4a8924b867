import type { Area, Line, Status } from '../doctor/line.js';
import type { DoctorReport } from '../doctor/report.js';
import type { Outcome } from '../journal/outcome.js';
import { wrap, type TableStyle } from '../sweep/table.js';
import { printable } from '../sweep/text.js';

const TITLES: Record<Area, string> = {
  kernel: 'Kernel', program: 'This program', rights: 'Rights', memory: 'Memory', processors: 'Processors', interfaces: 'Interfaces',
  passthrough: 'Devices given to a program (IOMMU, VFIO)', devices: 'Device files', journal: 'Journal', drivers: 'What this machine can open',
};
/** The sign carries the status where there is no colour. */
const SIGNS: Record<Status, readonly [sign: string, colour: string]> = {
  ok: ['✓', '\u001b[32m'], info: ['·', '\u001b[2m'], warn: ['!', '\u001b[33m'], missing: ['✗', '\u001b[31m'],
};
const BOLD = '\u001b[1m';
const DIM = '\u001b[2m';
const RESET = '\u001b[0m';
const LABEL_MOST = 32;
/** Where a line's reason and mend stand. */
const UNDER = ' '.repeat(6);

/** The report for a person: an area after the other, what is not well with its reason and its mend, and the sum of it. */
export function doctorText(report: DoctorReport, style: TableStyle): string {
  const areas = [...new Set(report.lines.map(line => line.area))];
  const width = Math.min(LABEL_MOST, Math.max(0, ...report.lines.map(line => line.what.length)));
  const blocks = areas.map(area => [paint(TITLES[area], BOLD, style), ...report.lines.filter(line => line.area === area).flatMap(line => lineText(line, width, style))].join('\n'));
  return `${[...blocks, wrap(sum(report), style.width).join('\n')].join('\n\n')}\n`;
}

function lineText({ what, status, value, reason, mend }: Line, labels: number, style: TableStyle): string[] {
  const [sign, colour] = SIGNS[status];
  const column = ' '.repeat(labels + UNDER.length);
  const set = (text: string, indent: string): string[] => wrap(printable(text, 2000), Math.max(30, style.width - indent.length));
  const [first = '', ...rest] = set(value, column);
  return [
    `  ${paint(sign, colour, style)} ${printable(what, 200).padEnd(labels)}  ${first}`,
    ...rest.map(line => column + line),
    ...(reason === undefined ? [] : set(reason, UNDER)).map(line => UNDER + paint(line, DIM, style)),
    ...(mend === undefined ? [] : set(`→ ${mend}`, UNDER)).map(line => UNDER + line),
  ];
}

function sum({ drivers, lines }: DoctorReport): string {
  const usable = drivers.filter(each => each.usable).map(each => `${each.name}:`);
  const without = drivers.filter(each => !each.usable).map(each => `${each.name}:`);
  const count = (status: Status, one: string, more: string): string => {
    // A driver that cannot be opened is named above, and what it lacks has a line of its own.
    const number = lines.filter(line => line.status === status && line.area !== 'drivers').length;
    return `${number} ${number === 1 ? one : more}`;
  };
  return printable(`Usable here: ${usable.join(' ') || 'nothing'}${without.length === 0 ? '' : `; not usable: ${without.join(' ')}`}. ${count('missing', 'thing is', 'things are')} missing, ${count('warn', 'could', 'could')} be better.`, 2000);
}

/** What `--clean` did. */
export function cleanText(outcomes: readonly Outcome[]): string {
  if (outcomes.length === 0) return 'Nothing was left by a killed run.\n';
  return outcomes.map(({ what, result, reason }) => printable(`${result}: ${what}${reason === undefined ? '' : ` (${reason})`}`, 2000)).map(line => `${line}\n`).join('');
}

function paint(text: string, colour: string, style: TableStyle): string {
  return style.colour ? `${colour}${text}${RESET}` : text;
}
