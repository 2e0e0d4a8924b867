/** An HTB's classes as they are written, into the list that it is built of. */
import { bytesPerSecond, FULL_FRAME, rateText, refuse, whole } from './checks.js';
import { classifierOf } from './classify.js';
import { Htb, type HtbClassNumbers } from './htb.js';
import { LEVELS } from './htb_classes.js';
import { burstOf, hashes, quantumOf, sumOf, type Plan } from './plan.js';
import type { HtbClassSpec, HtbSpec, QdiscSpec } from './spec.js';

const MOST_CLASSES = 65536;
/** tc's r2q: a tenth of a second's worth of the rate, within these. */
const MOST_QUANTUM = 200_000;

type Prepared = Omit<HtbClassNumbers, 'child'> & { readonly plan: Plan | undefined };

/** `child` prepares a leaf's queue. Throws EOPTION. */
export function prepareHtb(spec: HtbSpec, child: (spec: QdiscSpec | undefined) => Plan): Plan {
  const { classes, classify = 'mark', default: otherwise, overhead = 0 } = spec;
  const { list } = new ClassList(classes, child);
  const leaves = list.filter(({ plan }) => plan !== undefined);
  const fallback = otherwise === undefined ? -1 : leaves.findIndex(({ name }) => name === otherwise);
  if (otherwise !== undefined && fallback < 0) refuse(`htb: its default "${String(otherwise).slice(0, 40)}" is no leaf: name one of the classes that have none below them.`);
  const classifier = classifierOf('htb', classify);
  const plans = leaves.map(({ plan }) => plan!);
  whole('htb: overhead', overhead, 0, 65535);
  return {
    ...sumOf(plans, Htb.bytesOf(list.length)), shapes: true, hashes: hashes(plans, classify),
    make(memory, name) {
      const made = list.map(({ plan, ...numbers }) => ({ ...numbers, child: plan?.make(memory, `${name}.${numbers.name}`) }));
      return new Htb(memory, name, made, classifier, fallback, overhead);
    },
  };
}

/** The classes of the tree in one list, parents before their children. */
class ClassList {
  readonly list: Prepared[] = [];
  readonly #names = new Set<string>();
  readonly #child: (spec: QdiscSpec | undefined) => Plan;

  constructor(classes: readonly HtbClassSpec[], child: (spec: QdiscSpec | undefined) => Plan) {
    this.#child = child;
    this.#add(classes, -1, 0);
  }

  #add(classes: readonly HtbClassSpec[], parent: number, depth: number): void {
    if (!Array.isArray(classes) || classes.length === 0) refuse('htb: classes: give a list of at least one class.');
    if (depth >= LEVELS - 1) refuse(`htb: classes stand more than ${LEVELS - 1} deep: make the tree flatter.`);
    for (const spec of classes) {
      if (this.list.length >= MOST_CLASSES) refuse(`htb: more than ${MOST_CLASSES} classes: make them fewer.`);
      const name = this.#nameOf(spec);
      this.list.push({ ...numbersOf(name, spec), parent, depth, plan: this.#leaf(name, spec) });
      if (spec.classes !== undefined) this.#add(spec.classes, this.list.length - 1, depth + 1);
    }
  }

  #nameOf(spec: HtbClassSpec): string {
    const name = (spec as HtbClassSpec | undefined)?.name;
    if (typeof name !== 'string' || name.length < 1 || name.length > 60) refuse('htb: each class has a name of 1 to 60 characters.');
    if (this.#names.has(name)) refuse(`htb: two classes are named "${name}": give each a name of its own.`);
    this.#names.add(name);
    return name;
  }

  /** Undefined for an inner class. */
  #leaf(name: string, spec: HtbClassSpec): Plan | undefined {
    if (spec.classes !== undefined) {
      if (spec.child !== undefined) refuse(`htb: class "${name}" has classes and a child: packets wait in leaves only, leave one of them out.`);
      return undefined;
    }
    const plan = this.#child(spec.child);
    if (plan.shapes) refuse(`htb: the child of class "${name}" holds packets back by itself (tbf, htb): give the class a ceil instead.`);
    return plan;
  }
}

function numbersOf(name: string, spec: HtbClassSpec): Omit<Prepared, 'parent' | 'depth' | 'plan'> {
  const rate = bytesPerSecond(`htb: rate of class "${name}"`, spec.rate);
  const ceil = spec.ceil === undefined ? rate : bytesPerSecond(`htb: ceil of class "${name}"`, spec.ceil);
  if (ceil < rate) refuse(`htb: class "${name}" has a ceil of ${rateText(ceil)} below its rate of ${rateText(rate)}: give a higher one, or leave it out.`);
  return {
    name, rate, ceil,
    burst: burstOf(`htb: burst of class "${name}"`, spec.burst, rate), ceilBurst: burstOf(`htb: ceilBurst of class "${name}"`, spec.ceilBurst, ceil),
    priority: whole(`htb: priority of class "${name}"`, spec.priority ?? 0, 0, 7),
    quantum: quantumOf(`htb: quantum of class "${name}"`, spec.quantum ?? Math.round(Math.min(MOST_QUANTUM, Math.max(FULL_FRAME, rate / 10)))),
  };
}
