import type { BridgeConfig, PortConfig } from '../switch/config.js';
import type { SwitchAnswer } from './switch_answer.js';
import { vlanText } from './switch_text.js';

/** The layout in Graphviz's language: bridges as clusters of ports, patches and tunnels as edges, mirrors dotted. */
export function drawSwitch({ name, config }: SwitchAnswer): string {
  const bridges = Object.entries(config.bridges);
  return [
    `graph ${quote(name)} {`,
    '  rankdir=LR; node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=10]; edge [fontname="sans-serif", fontsize=9];',
    ...bridges.flatMap(([bridge, its], index) => cluster(bridge, its, index)),
    ...bridges.flatMap(([bridge, { ports }]) => Object.entries(ports).flatMap(([port, its]) => links(bridge, port, its))),
    ...bridges.flatMap(([bridge, its]) => mirrors(bridge, its)),
    '}',
  ].join('\n').concat('\n');
}

function cluster(bridge: string, { ports }: BridgeConfig, index: number): string[] {
  const nodes = Object.entries(ports).map(([port, { vlan }]) => `    ${node(bridge, port)} [label=${quote([port, vlanText(vlan)].filter(text => text !== '').join('\n'))}];`);
  return [
    `  subgraph cluster_${index} {`, `    label=${quote(bridge)}; style="rounded,filled"; fillcolor="#eef3f8"; fontname="sans-serif";`,
    `    ${quote(bridge)} [label=${quote(bridge)}, shape=ellipse, fillcolor="#c9daea"];`, ...nodes,
    ...Object.keys(ports).map(port => `    ${quote(bridge)} -- ${node(bridge, port)};`), '  }',
  ];
}

/** What is outside of the bridge at that port. */
function links(bridge: string, port: string, its: PortConfig): string[] {
  const from = node(bridge, port);
  if ('patch' in its) return `${bridge}/${port}` < `${its.patch.bridge}/${its.patch.port}` ? [`  ${from} -- ${node(its.patch.bridge, its.patch.port)} [style=bold, label="patch"];`] : [];
  if ('device' in its) return [`  ${quote(`device ${its.device}`)} [label=${quote(its.device)}, shape=plaintext, style=""];`, `  ${from} -- ${quote(`device ${its.device}`)};`];
  const { vni, underlay, remotes } = its.vxlan;
  const through = underlay.bridge === undefined ? [] : [`  ${from} -- ${quote(underlay.bridge)} [style=dashed, label="underlay"];`];
  return [...through, ...remotes.flatMap(remote => [`  ${quote(`remote ${remote}`)} [label=${quote(remote)}, shape=plaintext, style=""];`, `  ${from} -- ${quote(`remote ${remote}`)} [style=dashed, label=${quote(`vxlan ${vni}`)}];`])];
}

function mirrors(bridge: string, { mirrors: its = {} }: BridgeConfig): string[] {
  return Object.entries(its).flatMap(([name, { from, to }]) => from.map(port => `  ${node(bridge, port)} -- ${node(bridge, to)} [style=dotted, label=${quote(name)}, constraint=false];`));
}

function node(bridge: string, port: string): string {
  return quote(`${bridge}/${port}`);
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}
