import { PollmodeError } from '../../errors.js';
import { readNapi, setNapi, type Deferral } from '../../kernel/napi.js';
import { numberField, objectField, type Change, type Fields, type Kind } from '../kind.js';

/** When the interrupts of one NAPI come, where sysfs does not show its interface. */
export interface NapiChange extends Change {
  readonly kind: 'napi';
  readonly napi: number;
  /** With the number it tells the NAPI from a later one. */
  readonly ifindex: number;
  readonly was: Deferral;
  /** What was set. Values that are neither have another owner since, and are left alone. */
  readonly to: Deferral;
}

const MAX_ID = 0xffffffff;
/** napi_defer_hard_irqs is an int in the kernel. */
export const MAX_DEFER = 0x7fffffff;

export const napiKind: Kind<NapiChange> = {
  kind: 'napi',
  namespaced: () => true,
  check: fields => ({
    kind: 'napi',
    napi: numberField(fields, 'napi', 1, MAX_ID),
    ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff),
    was: deferralField(fields, 'was'),
    to: deferralField(fields, 'to'),
  }),
  describe: ({ napi, ifindex, was }) => `NAPI ${napi} of link ${ifindex} back to napi_defer_hard_irqs ${was.deferHardIrqs}, gro_flush_timeout ${was.groFlushNs}`,
  undo({ napi, ifindex, was, to }) {
    const now = readNapi(napi);
    if (now.ifindex !== ifindex) throw new PollmodeError('ENOTFOUND', `NAPI ${napi} is another interface's now: it was left alone.`);
    if (same(now, was)) return 'unchanged';
    if (!same(now, to)) return 'superseded';
    setNapi(napi, was);
    return 'undone';
  },
};

function deferralField(fields: Fields, name: string): Deferral {
  const values = objectField(fields, name);
  return { deferHardIrqs: numberField(values, 'deferHardIrqs', 0, MAX_DEFER), groFlushNs: numberField(values, 'groFlushNs', 0, Number.MAX_SAFE_INTEGER) };
}

function same(one: Deferral, other: Deferral): boolean {
  return one.deferHardIrqs === other.deferHardIrqs && one.groFlushNs === other.groFlushNs;
}
