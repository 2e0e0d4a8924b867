/** From what a person writes (spec.ts) to a tree: every number is checked before anything is reserved. */
import { bytesPerSecond, FULL_FRAME, milliseconds, refuse, whole, type Rate } from './checks.js';
import { classifierOf } from './classify.js';
import { Drr } from './drr.js';
import { FqCodel } from './fq_codel.js';
import { prepareHtb } from './htb_build.js';
import { Meter, METER_BYTES } from './meter.js';
import { Pfifo } from './pfifo.js';
import { burstOf, hashes, LEAST_BURST, MOST_BURST, quantumOf, sumOf, type Plan } from './plan.js';
import { Police } from './police.js';
import { Prio } from './prio.js';
import type { DrrSpec, FqCodelSpec, PfifoSpec, PoliceSpec, PrioSpec, QdiscSpec, TbfSpec } from './spec.js';
import { Tbf } from './tbf.js';

const DEEPEST = 16;
const MOST_PACKETS = 2 ** 20;

/** Throws EOPTION. */
export function prepare(spec: QdiscSpec, depth = 0): Plan {
  if (typeof spec !== 'object' || spec === null) refuse(`A discipline is an object with a kind, not ${String(spec)}: write { kind: 'pfifo' }, for instance.`);
  if (depth > DEEPEST) refuse(`This tree of disciplines is more than ${DEEPEST} deep: make it flatter.`);
  switch (spec.kind) {
    case 'pfifo': return preparePfifo(spec);
    case 'prio': return preparePrio(spec, depth);
    case 'tbf': return prepareTbf(spec, depth);
    case 'drr': return prepareDrr(spec, depth);
    case 'htb': return prepareHtb(spec, child => childOf(child, depth));
    case 'fq_codel': return prepareFqCodel(spec);
    case 'police': return preparePolice(spec, depth);
    default: return refuse(`No discipline is of the kind ${JSON.stringify((spec as { kind: unknown }).kind)}: there are pfifo, prio, tbf, drr, htb, fq_codel and police.`);
  }
}

/** The child of what has one: a pfifo when none is named. */
function childOf(child: QdiscSpec | undefined, depth: number): Plan {
  return prepare(child ?? { kind: 'pfifo' }, depth + 1);
}

function preparePfifo({ limit = 1000, bytes = Infinity }: PfifoSpec): Plan {
  whole('pfifo: limit', limit, 1, MOST_PACKETS);
  if (bytes !== Infinity) whole('pfifo: bytes', bytes, 1, Number.MAX_SAFE_INTEGER);
  return { ...sumOf([], Pfifo.bytesOf()), packets: limit + 1, make: (memory, name) => new Pfifo(memory, name, { kind: 'pfifo', limit, bytes }) };
}

function preparePrio({ bands, classify = 'mark', default: otherwise = bands?.length - 1 }: PrioSpec, depth: number): Plan {
  const plans = listOf('prio: bands', bands, 64).map(band => prepare(band, depth + 1));
  whole('prio: default', otherwise, 0, plans.length - 1);
  const classifier = classifierOf('prio', classify);
  return {
    ...sumOf(plans, Prio.bytesOf()), hashes: hashes(plans, classify),
    make: (memory, name) => new Prio(memory, name, plans.map((plan, band) => plan.make(memory, `${name}.${band}`)), classifier, otherwise),
  };
}

function prepareTbf({ rate, burst, peak, peakBurst = FULL_FRAME, overhead = 0, child }: TbfSpec, depth: number): Plan {
  const perSecond = bytesPerSecond('tbf: rate', rate);
  const numbers = {
    rate: perSecond, burst: burstOf('tbf: burst', burst, perSecond), peak: peakOf(peak, perSecond),
    peakBurst: whole('tbf: peakBurst', peakBurst, LEAST_BURST, MOST_BURST), overhead: whole('tbf: overhead', overhead, 0, 65535),
  };
  const plan = childOf(child, depth);
  return { ...sumOf([plan], Tbf.bytesOf()), shapes: true, make: (memory, name) => new Tbf(memory, name, numbers, plan.make(memory, `${name}.0`)) };
}

/** 0 for none. */
function peakOf(peak: Rate | undefined, rate: number): number {
  if (peak === undefined) return 0;
  const perSecond = bytesPerSecond('tbf: peak', peak);
  if (perSecond < rate) refuse(`tbf: a peak of ${String(peak)} is below the rate: give a higher one, or leave it out.`);
  return perSecond;
}

function prepareDrr({ classes, classify = 'mark', default: otherwise }: DrrSpec, depth: number): Plan {
  const list = listOf('drr: classes', classes, 65536);
  const quanta = list.map(({ quantum = FULL_FRAME }) => quantumOf('drr: quantum', quantum));
  const plans = list.map(({ child }) => childOf(child, depth));
  const fallback = otherwise === undefined ? -1 : whole('drr: default', otherwise, 0, list.length - 1);
  const classifier = classifierOf('drr', classify);
  return {
    ...sumOf(plans, Drr.bytesOf(list.length)), hashes: hashes(plans, classify),
    make: (memory, name) => new Drr(memory, name, plans.map((plan, index) => plan.make(memory, `${name}.${index}`)), quanta, classifier, fallback),
  };
}

function prepareFqCodel({ flows = 1024, limit = 10240, quantum = FULL_FRAME, targetMs = 5, intervalMs = 100, ecn = true }: FqCodelSpec): Plan {
  const numbers = {
    flows: whole('fq_codel: flows', flows, 1, 65536), limit: whole('fq_codel: limit', limit, 1, MOST_PACKETS), quantum: quantumOf('fq_codel: quantum', quantum),
    target: milliseconds('fq_codel: targetMs', targetMs, 0.001, 60_000), interval: milliseconds('fq_codel: intervalMs', intervalMs, 0.001, 60_000), ecn: ecn === true, largest: FULL_FRAME,
  };
  if (numbers.interval < numbers.target) refuse(`fq_codel: an interval of ${intervalMs} ms is shorter than the target of ${targetMs} ms: RFC 8289 has the target at a twentieth of it.`);
  return { ...sumOf([], FqCodel.bytesOf(flows)), packets: limit + 2, hashes: true, make: (memory, name) => new FqCodel(memory, name, numbers) };
}

function preparePolice(spec: PoliceSpec, depth: number): Plan {
  const scratch = { f64: new Float64Array(METER_BYTES / 8) };
  new Meter(scratch as unknown as ConstructorParameters<typeof Meter>[0], 0, spec.meter); // its checks
  const plan = childOf(spec.child, depth);
  return { ...sumOf([plan], Police.bytesOf()), make: (memory, name) => new Police(memory, name, spec, plan.make(memory, `${name}.0`)) };
}

function listOf<T>(what: string, list: readonly T[], most: number): readonly T[] {
  if (!Array.isArray(list) || list.length < 1 || list.length > most) refuse(`${what}: give a list of 1 to ${most}.`);
  return list;
}
