/** Rules as they are executed, and what may execute them in front of a table. */
import { PollmodeError } from '../errors.js';
import { stepsOf, type Step } from './actions.js';
import { testsOf, whole, wrong, type FieldTest } from './match.js';
import type { RxQueue } from '../port/port.js';
import type { FlowRule } from './rule.js';

export const MOST_RULES = 256;
export const USUAL_PRIORITY = 1000;

/** A rule as it is executed. */
export interface CompiledRule {
  readonly rule: FlowRule;
  readonly tests: readonly FieldTest[];
  readonly steps: readonly Step[];
  /** Its counters' place, for as long as it is in the table. */
  readonly slot: number;
}

/** Something in front of the table that runs rules itself. */
export interface FlowOffload {
  /** For people, and for `query`: "xdp", "ethtool n-tuple". */
  readonly where: string;
  /** Takes these rules, in order, instead of those before. Returns for each whether it is done there, or the reason why not. */
  install(rules: readonly CompiledRule[]): readonly (true | string)[];
  /** Of a rule that was done there: is it still? Else why not, as with `install`. Absent: it is. */
  still?(slot: number): true | string;
  /** Packets that the rules in front lead to a queue of the table, 1 and up, without the table's seeing them. */
  queue?(queue: number): RxQueue | undefined;
  /** Packets and bytes of a slot, since it was `reset`. */
  read(slot: number): { readonly packets: number; readonly bytes: number };
  reset(slot: number): void;
}

/** What a table has that rules may name. */
export interface RuleWorld {
  readonly queues: number;
  readonly ports: readonly string[];
}

/** In the order in which they are asked; a name that was there keeps its slot, the others take free ones first. Throws EOPTION. */
export function compileRules(rules: readonly FlowRule[], before: readonly CompiledRule[], world: RuleWorld): CompiledRule[] {
  if (rules.length > MOST_RULES) throw new PollmodeError('EOPTION', `A flow table holds ${MOST_RULES} rules, not ${rules.length}: join some, or use an ACL.`);
  const seen = new Set<string>();
  const checked = rules.map(rule => {
    const { name, priority = USUAL_PRIORITY, match = {}, actions } = rule;
    if (typeof name !== 'string' || name.length < 1 || name.length > 60) wrong(String(name).slice(0, 60), 'a rule has a name of 1 to 60 characters');
    if (seen.has(name)) wrong(name, 'there are two of that name: give each its own');
    seen.add(name);
    whole(name, 'priority', priority, 65535);
    return { rule, tests: testsOf(name, match), steps: stepsOf(name, actions, world.queues, world.ports) };
  });
  const slots = new Map(before.map(({ rule, slot }) => [rule.name, slot]));
  const taken = new Set(slots.values());
  const gone = [...slots].filter(([name]) => !seen.has(name)).map(([, slot]) => slot);
  const room = [...Array.from({ length: MOST_RULES }, (_, slot) => slot).filter(slot => !taken.has(slot)), ...gone];
  return checked.map(each => ({ ...each, slot: slots.get(each.rule.name) ?? room.shift()! }))
    .sort((a, b) => (a.rule.priority ?? USUAL_PRIORITY) - (b.rule.priority ?? USUAL_PRIORITY));
}
