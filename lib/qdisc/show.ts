/** A tree of disciplines as text: what stands where, what came and went, what was dropped and why. */
import type { HtbClassReport, QdiscReport, QdiscTreeReport } from './report.js';

export function show(report: QdiscTreeReport): string {
  const head = `${report.name}: sent ${report.sentPackets}, held ${report.heldPackets}${dropText(report.drops)}${report.portFull > 0 ? `, port full ${report.portFull} times` : ''}`;
  return [head, ...lines(report.root, '  ')].join('\n');
}

function* lines(report: QdiscReport, indent: string): Generator<string> {
  const { kind, name, inPackets, inBytes, outPackets, outBytes, heldPackets, heldBytes, drops, state, children } = report;
  yield `${indent}${kind} ${name}: in ${inPackets} (${inBytes} B), out ${outPackets} (${outBytes} B), held ${heldPackets} (${heldBytes} B)${dropText(drops)}`;
  const words = Object.entries(state).map(([key, value]) => `${key} ${typeof value === 'number' ? Number(value.toFixed(3)) : value}`);
  if (words.length > 0) yield `${indent}  ${words.join(', ')}`;
  for (const each of (report as { classes?: readonly HtbClassReport[] }).classes ?? []) yield `${indent}  ${classText(each)}`;
  for (const child of children) yield* lines(child, `${indent}  `);
}

function classText(one: HtbClassReport): string {
  const above = one.parent === undefined ? '' : ` under "${one.parent}"`;
  return `class "${one.name}"${above}: rate ${one.rate}, ceil ${one.ceil}, priority ${one.priority}, ${one.mode}, ${one.packets} packets (${one.bytes} B), lent ${one.lent}, borrowed ${one.borrowed}`;
}

function dropText(drops: Readonly<Record<string, number>>): string {
  const some = Object.entries(drops).filter(([, count]) => count > 0);
  return some.length === 0 ? '' : `, dropped ${some.map(([cause, count]) => `${count} ${cause}`).join(', ')}`;
}
