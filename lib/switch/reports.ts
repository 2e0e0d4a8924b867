import { PollmodeError } from '../errors.js';
import { formatMac } from '../wire/ethernet.js';
import type { Output } from './actions.js';
import type { Datapath } from './datapath.js';
import * as layout from './layout.js';
import type { SwitchPort } from './ports.js';
import type { BridgeReport, FdbEntry, FlowReport, PortReport, SwitchReport } from './report.js';

const { KEY_TAGGED, TAG_KEEP, TAG_POP, TAG_PUSH } = layout;

export function portReports(datapath: Datapath): PortReport[] {
  datapath.flows.settleAll();
  return datapath.ports.filter(port => port !== undefined).map(port => portReport(datapath, port));
}

export function fdbReport(datapath: Datapath, name?: string): FdbEntry[] {
  const bridges = [...datapath.bridges.values()].filter(bridge => name === undefined || bridge.name === name);
  if (bridges.length === 0 && name !== undefined) throw new PollmodeError('ENOTFOUND', `There is no bridge "${name}": there are ${[...datapath.bridges.values()].map(bridge => bridge.name).join(', ')}.`);
  return bridges.flatMap(bridge => [...bridge.fdb.entries()].map(({ vlan, low, high, port, seen }) => ({
    bridge: bridge.name, mac: macOf(low, high), vlan, ...nameOf(datapath.ports[port]), age: Math.max(0, datapath.now - seen) / 1000,
  })));
}

export function flowReports(datapath: Datapath, limit: number): FlowReport[] {
  const found: FlowReport[] = [];
  for (const flow of datapath.flows.valid()) {
    if (found.length >= limit) break;
    found.push(flowReport(datapath, flow));
  }
  return found;
}

export function switchReport(datapath: Datapath): SwitchReport {
  const { count, capacity, installed, evicted, invalidated } = datapath.flows;
  return {
    bridges: [...datapath.bridges.values()].map((bridge): BridgeReport => {
      const { fdb } = bridge;
      return {
        name: bridge.name, ports: bridge.ports.map(port => fullName(port)),
        macs: { count: fdb.count, capacity: fdb.capacity, evicted: fdb.evicted, aged: fdb.aged, moved: fdb.moved, held: fdb.held },
      };
    }),
    ports: portReports(datapath),
    flows: { count, capacity, installed, evicted, invalidated },
    packets: datapath.packets, slow: datapath.slow,
  };
}

function portReport(datapath: Datapath, port: SwitchPort): PortReport {
  return {
    bridge: datapath.bridges.get(port.bridge)?.name ?? '', ...nameOfPort(port), number: port.number, kind: port.kind,
    rx: { packets: port.rxPackets, bytes: port.rxBytes },
    tx: { packets: port.txPacketCount, bytes: port.txBytes(datapath.carrier.waitingBytes(port)) },
    waiting: port.waiting, drops: port.drops(), ...port.state?.(),
  };
}

function flowReport({ flows, ports, bridges, now }: Datapath, flow: number): FlowReport {
  const [first, middle, last, way] = [0, 1, 2, 3].map(word => flows.keyWord(flow, word)) as [number, number, number, number];
  const port = ports[way >>> 16];
  const { outputs, drop } = flows.list(flow);
  return {
    bridge: bridges.get(port?.bridge ?? 0)?.name ?? '', port: port === undefined ? '' : fullName(port),
    source: macOf(((middle >>> 16) | (last << 16)) >>> 0, last >>> 16), destination: macOf(first, middle & 0xffff),
    ...((way & KEY_TAGGED) === 0 ? {} : { tag: way & 0xfff }), vlan: flows.vlan(flow), packets: flows.packets(flow), bytes: flows.bytes(flow),
    idle: ((Math.floor(now) - flows.stamp(flow)) >>> 0) / 1000,
    actions: [...outputs.map(output => actionText(output, ports[output.port])), ...(drop === undefined ? [] : [`drop ${drop.cause}`])],
  };
}

function actionText({ tag, snap }: Output, port: SwitchPort | undefined): string {
  const what = tag & 0xffff;
  const change = what === TAG_KEEP ? '' : what === TAG_POP ? 'pop tag, ' : what === TAG_PUSH ? `push tag ${tag >>> 16}, ` : `set tag ${tag >>> 16}, `;
  return `${change}${snap > 0 ? `first ${snap} bytes ` : ''}to ${port === undefined ? 'nowhere' : fullName(port)}`;
}

function nameOf(port: SwitchPort | undefined): { port: string; remote?: string } {
  return port === undefined ? { port: '' } : { port: port.name, ...(port.remote === undefined ? {} : { remote: port.remote }) };
}

function nameOfPort(port: SwitchPort): { name: string; device?: string; remote?: string } {
  const { port: name, ...remote } = nameOf(port);
  return { name, ...(port.device === undefined ? {} : { device: port.device }), ...remote };
}

function fullName({ name, remote }: SwitchPort): string {
  return remote === undefined ? name : `${name} ${remote}`;
}

function macOf(low: number, high: number): string {
  return formatMac(Uint8Array.of(low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8));
}
