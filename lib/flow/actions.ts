/** The actions of a rule, checked, with names found: what the table executes. */
import type { FlowAction } from './rule.js';
import { parseMac } from '../wire/ethernet.js';
import { whole, wrong } from './match.js';

export const DROP = 0;
export const COUNT = 1;
export const MARK = 2;
export const QUEUE = 3;
export const RSS = 4;
export const REWRITE = 5;
export const MIRROR = 6;
export const REDIRECT = 7;

/** One shape for all, so that the loop over a rule's actions meets one kind of object. */
export interface Step {
  readonly code: number;
  /** The mark, queue or outlet (mirror, redirect) number. */
  readonly number: number;
  readonly queues: readonly number[];
  readonly destinationMac: Uint8Array | undefined;
  readonly sourceMac: Uint8Array | undefined;
  /** -1: stays as it is. */
  readonly dscp: number;
}

const FATES = ['drop', 'queue', 'rss', 'redirect'];
const NONE: Step = { code: DROP, number: 0, queues: [], destinationMac: undefined, sourceMac: undefined, dscp: -1 };

/** `ports`: names that mirror and redirect may go to; their number is their place. Throws EOPTION. */
export function stepsOf(rule: string, actions: readonly FlowAction[], queues: number, ports: readonly string[]): Step[] {
  if (!Array.isArray(actions)) wrong(rule, 'actions: give a list');
  const fate = actions.findIndex(action => FATES.includes(action?.do));
  if (fate >= 0 && fate !== actions.length - 1) wrong(rule, `${actions[fate]!.do} decides where the packet goes: it stands last, and once`);
  const portOf = (name: string): number => {
    const number = ports.indexOf(name);
    if (number < 0) wrong(rule, `there is no port "${String(name).slice(0, 40)}" in this table: it has ${ports.length === 0 ? 'none' : ports.join(', ')}`);
    return number;
  };
  return actions.map((action): Step => {
    switch (action?.do) {
      case 'drop': return NONE;
      case 'count': return { ...NONE, code: COUNT };
      case 'mark': return { ...NONE, code: MARK, number: whole(rule, 'mark', action.mark, 0xffffffff) };
      case 'queue': return { ...NONE, code: QUEUE, number: whole(rule, 'queue', action.queue, queues - 1) };
      case 'rss': return { ...NONE, code: RSS, queues: queueList(rule, action.queues, queues) };
      case 'rewrite': return { ...NONE, code: REWRITE, ...rewriting(rule, action) };
      case 'mirror': return { ...NONE, code: MIRROR, number: portOf(action.to) };
      case 'redirect': return { ...NONE, code: REDIRECT, number: portOf(action.to) };
      default: return wrong(rule, `no action is called ${JSON.stringify((action as { do?: unknown } | undefined)?.do)}: there are drop, count, mark, queue, rss, rewrite, mirror and redirect`);
    }
  });
}

function queueList(rule: string, list: readonly number[], queues: number): readonly number[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > 512) wrong(rule, 'rss: queues: give a list of 1 to 512');
  return list.map(queue => whole(rule, 'rss: queue', queue, queues - 1));
}

function rewriting(rule: string, { destinationMac, sourceMac, dscp }: Extract<FlowAction, { do: 'rewrite' }>): Pick<Step, 'destinationMac' | 'sourceMac' | 'dscp'> {
  if (destinationMac === undefined && sourceMac === undefined && dscp === undefined) wrong(rule, 'rewrite: say what: destinationMac, sourceMac or dscp');
  return {
    destinationMac: destinationMac === undefined ? undefined : parseMac(destinationMac),
    sourceMac: sourceMac === undefined ? undefined : parseMac(sourceMac),
    dscp: dscp === undefined ? -1 : whole(rule, 'dscp', dscp, 63),
  };
}
