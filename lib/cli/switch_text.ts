/** A switch for a terminal: what people look at. Names are the configuration's, which has checked their letters. */
import { printable } from '../sweep/text.js';
import type { TableStyle } from '../sweep/text_table.js';
import type { BridgeConfig, PortConfig, VlanConfig } from '../switch/config.js';
import type { Changes, FdbEntry, FlowReport, PortReport } from '../switch/report.js';
import { bitRate, byteCount, counted, packetRate } from './figures.js';
import type { SwitchAnswer } from './switch_answer.js';

/** A tree: the switch, its bridges, their ports. With `before`, an earlier answer, rates instead of counts. */
export function showText(now: SwitchAnswer, before: SwitchAnswer | undefined, style: TableStyle): string {
  const { report, config } = now;
  const { flows, packets, slow } = report;
  const rate = before === undefined ? '' : `, ${perSecond(packets - before.report.packets, now.seconds - before.seconds)}`;
  const head = `${bold(`switch "${now.name}"`, style)}  process ${now.pid}, ${duration(now.seconds)}, idle ${now.idle}, ${printable(now.file)}\n`
    + `${counted(packets, 'packet')}, ${slow} by the slow path${rate}; ${flows.count} of ${flows.capacity} flows\n`;
  const columns = Object.entries(config.bridges).flatMap(([name, bridge]) => Object.keys(bridge.ports).map(port => cells(now, before, name, bridge, port)));
  const widths = [0, 1, 2, 3, 4].map(column => Math.max(0, ...columns.map(row => row[column]!.length)));
  const bridges = Object.entries(config.bridges).map(([name, bridge]) => {
    const macs = report.bridges.find(each => each.name === name)?.macs;
    const ports = Object.keys(bridge.ports);
    const lines = ports.map((port, index) => {
      const row = cells(now, before, name, bridge, port).map((cell, column) => column < widths.length ? cell.padEnd(widths[column]!) : cell);
      return `${index === ports.length - 1 ? '└─' : '├─'} ${row.join('  ')}`.trimEnd();
    });
    return `\n${bold(name, style)}  ${macs === undefined ? '' : `${macs.count} of ${macs.capacity} addresses`}\n${lines.map(line => `${line}\n`).join('')}`;
  });
  const ends = report.ports.filter(({ kind, name }) => kind !== 'patch' && name.startsWith(END));
  return `${head}${bridges.join('')}${ends.length === 0 ? '' : `\n${bold('tunnel ends', style)}\n${ends.map(end => `${endText(end)}\n`).join('')}`}`;
}

/** How the switch names the end point of tunnels, which is a port of its own beside those of the configuration. */
const END = 'vtep ';

function endText(end: PortReport): string {
  const { bridge, name, device, rx, tx } = end;
  return `└─ ${[name.slice(END.length), `over ${printable(device ?? bridge, 80)}`, `rx ${rx.packets} (${byteCount(rx.bytes)})`, `tx ${tx.packets} (${byteCount(tx.bytes)})`, troubleText([end])].join('  ').trimEnd()}`;
}

/** Name, what it is, VLANs and limits, in, out, and what went wrong. */
function cells(now: SwitchAnswer, before: SwitchAnswer | undefined, bridge: string, its: BridgeConfig, name: string): string[] {
  const port = its.ports[name]!;
  const reports = reportsOf(now, bridge, name);
  const earlier = before === undefined ? undefined : reportsOf(before, bridge, name);
  const seconds = now.seconds - (before?.seconds ?? 0);
  const traffic = (way: 'rx' | 'tx'): string => {
    const [packets, bytes] = [sum(reports, way, 'packets'), sum(reports, way, 'bytes')];
    return earlier === undefined ? `${way} ${packets} (${byteCount(bytes)})` : `${way} ${perSecond(packets - sum(earlier, way, 'packets'), seconds)} ${bitRate((bytes - sum(earlier, way, 'bytes')) * 8 / seconds)}`;
  };
  return [name, printable(what(port), 80), [vlanText(port.vlan), port.storm === undefined ? '' : `storm ${port.storm.packetsPerSecond}/s`, ...mirrorsTo(its, name)].filter(text => text !== '').join(', '), traffic('rx'), traffic('tx'), troubleText(reports)];
}

/** Counters of drivers that say that something was lost, or is wrong; full rings that are asked again, and kicks, are neither. */
const LOSS = /drop|missed|bad|invalid|broken|wrong|truncated|too_|lost|error|no_mbuf|rx_ring_full|not_in|unsent/;

/** What the switch dropped, and why; and what the device lost before or behind it. */
function troubleText(reports: readonly PortReport[]): string {
  const devices = reports.flatMap(({ counters = {} }) => Object.entries(counters)).filter(([name]) => LOSS.test(name)).map(([name, count]) => `${name} ${count}`);
  return [...reports.some(({ link }) => link === 'down') ? ['down'] : [], dropsText(reports), devices.length === 0 ? '' : `device: ${devices.join(', ')}`].filter(text => text !== '').join(', ');
}

export function portsText({ report }: SwitchAnswer): string {
  const rows = report.ports.map(port => [
    `${port.bridge === '' ? '' : `${port.bridge}/`}${port.name}${port.remote === undefined ? '' : ` ${port.remote}`}`, String(port.rx.packets), String(port.rx.bytes), String(port.tx.packets), String(port.tx.bytes), String(port.waiting), dropsText([port]), deviceText(port),
  ]);
  return table(['port', 'rx packets', 'rx bytes', 'tx packets', 'tx bytes', 'waiting', 'dropped', 'device'], rows);
}

/** Its link, and all that it counted. */
function deviceText({ link, counters = {} }: PortReport): string {
  return [...link === undefined ? [] : [link], ...Object.entries(counters).map(([name, count]) => `${name} ${count}`)].join(', ');
}

export function fdbText(entries: readonly FdbEntry[]): string {
  return table(['bridge', 'vlan', 'address', 'port', 'age'], entries.map(({ bridge, vlan, mac, port, remote, age }) => [bridge, String(vlan), mac, `${port}${remote === undefined ? '' : ` ${remote}`}`, `${age.toFixed(1)} s`]));
}

export function flowsText(flows: readonly FlowReport[]): string {
  return table(['in', 'vlan', 'from', 'to', 'packets', 'bytes', 'idle', 'actions'], flows.map(flow => [
    flow.port, `${flow.tag === undefined ? '' : `${flow.tag} as `}${flow.vlan}`, flow.source, flow.destination, String(flow.packets), String(flow.bytes), `${flow.idle.toFixed(1)} s`, flow.actions.join(', '),
  ]));
}

export function changesText({ opened, closed, kept }: Changes): string {
  const part = (names: readonly string[], what: string): string[] => names.length === 0 ? [] : [`${what} ${names.join(', ')}`];
  return [...part(opened, 'opened'), ...part(closed, 'closed'), kept.length === 1 ? '1 port goes on' : `${kept.length} ports go on`].join('; ');
}

export function what(port: PortConfig): string {
  if ('device' in port) return port.device;
  if ('patch' in port) return `⇄ ${port.patch.bridge}/${port.patch.port}`;
  const { vni, local, remotes, underlay } = port.vxlan;
  return `vxlan ${vni} ${local} → ${remotes.join(', ')} over ${underlay.bridge ?? underlay.device ?? ''}`;
}

export function vlanText(vlan: VlanConfig | undefined): string {
  if (vlan === undefined) return '';
  if ('access' in vlan) return `access ${vlan.access}`;
  return `trunk ${vlan.trunk === 'all' ? 'all' : vlan.trunk.join(',')}${vlan.native === undefined ? '' : ` native ${vlan.native}`}`;
}

function mirrorsTo({ mirrors = {} }: BridgeConfig, port: string): string[] {
  return Object.values(mirrors).filter(({ to }) => to === port).map(({ from, direction = 'both' }) => `mirror of ${from.join(', ')}${direction === 'both' ? '' : ` (${direction})`}`);
}

function reportsOf({ report }: SwitchAnswer, bridge: string, name: string): PortReport[] {
  return report.ports.filter(port => port.bridge === bridge && port.name === name);
}

function sum(reports: readonly PortReport[], way: 'rx' | 'tx', what: 'packets' | 'bytes'): number {
  return reports.reduce((total, report) => total + report[way][what], 0);
}

function dropsText(reports: readonly PortReport[]): string {
  const drops = new Map<string, number>();
  for (const { drops: its } of reports) for (const [cause, count] of Object.entries(its)) drops.set(cause, (drops.get(cause) ?? 0) + count);
  return [...drops].map(([cause, count]) => `${cause} ${count}`).join(', ');
}

/** Numbers are set to the right. */
function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = titles.map((title, column) => Math.max(title.length, ...rows.map(row => row[column]!.length)));
  const isNumber = titles.map((_, column) => rows.length > 0 && rows.every(row => /^\d+( s)?$|^[\d.]+ s$/.test(row[column]!)));
  const line = (row: readonly string[]): string => row.map((cell, column) => isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)).join('  ').trimEnd();
  return `${[titles, ...rows].map(line).join('\n')}\n`;
}

function bold(text: string, { colour }: TableStyle): string {
  return colour ? `\u001b[1m${text}\u001b[0m` : text;
}

function perSecond(packets: number, seconds: number): string {
  return packetRate(packets / Math.max(seconds, 0.001));
}

function duration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${seconds.toFixed(1)} s`;
}
