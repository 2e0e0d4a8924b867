/** The schema of `pollmode doctor --json`, written down a second time: a field that changes its type breaks a test. */

type Shape = 'string' | 'number' | 'boolean' | readonly string[] | readonly [Shape] | { readonly [field: string]: Shape } | Optional;
interface Optional { readonly optional: Shape }
const optional = (shape: Shape): Optional => ({ optional: shape });
const list = (shape: Shape): readonly [Shape] => [shape];
const oneOf = (...words: string[]): readonly string[] => ['one of', ...words];

const LINE: Shape = {
  area: oneOf('kernel', 'program', 'rights', 'memory', 'processors', 'interfaces', 'passthrough', 'devices', 'journal', 'drivers'),
  what: 'string', status: oneOf('ok', 'info', 'warn', 'missing'), value: 'string', reason: optional('string'), mend: optional('string'),
};

const INTERFACE: Shape = {
  name: 'string', ifindex: 'number', kind: 'string', up: 'boolean', operstate: 'string', mtu: 'number', mac: 'string', rxQueues: 'number', txQueues: 'number',
  driver: optional('string'), bus: optional('string'), numaNode: optional('number'),
  channels: optional({ maxRx: 'number', maxTx: 'number', maxOther: 'number', maxCombined: 'number', rx: 'number', tx: 'number', other: 'number', combined: 'number' }),
  xdp: optional({ xdp: list('string'), rxMetadata: list('string'), xsk: list('string'), zeroCopyMaxSegments: 'number' }),
  xskQueues: list('number'), defaultRoute: 'boolean', device: 'string',
};

export const REPORT: Shape = {
  schema: 'number',
  machine: { platform: 'string', arch: 'string', release: 'string', node: 'string' },
  lines: list(LINE),
  interfaces: list(INTERFACE),
  drivers: list({ name: 'string', summary: 'string', usable: 'boolean', reason: optional('string'), mend: optional('string') }),
  cleaned: optional(list({ what: 'string', result: oneOf('undone', 'unchanged', 'superseded', 'gone', 'kept', 'unreadable'), reason: optional('string'), journal: 'string' })),
};

/** Where a value departs from a shape; empty when it does not. Fields that the shape does not know are departures too. */
export function departures(value: unknown, shape: Shape, where = 'report'): string[] {
  if (typeof shape === 'string') return typeof value === shape ? [] : [`${where} is no ${shape}`];
  if (isOptional(shape)) return value === undefined ? [] : departures(value, shape.optional, where);
  if (isWords(shape)) return shape.slice(1).includes(value as string) ? [] : [`${where} is ${JSON.stringify(value)}`];
  if (isList(shape)) return Array.isArray(value) ? value.flatMap((each, index) => departures(each, shape[0], `${where}[${index}]`)) : [`${where} is no list`];
  if (typeof value !== 'object' || value === null) return [`${where} is no object`];
  const unknown = Object.keys(value).filter(key => !(key in shape)).map(key => `${where}.${key} is not in the schema`);
  return [...unknown, ...Object.entries(shape).flatMap(([key, inner]) => departures((value as Record<string, unknown>)[key], inner, `${where}.${key}`))];
}

function isOptional(shape: Shape): shape is Optional {
  return typeof shape === 'object' && 'optional' in shape && !Array.isArray(shape);
}

function isWords(shape: Shape): shape is readonly string[] {
  return Array.isArray(shape) && shape[0] === 'one of';
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape) && shape.length === 1;
}
