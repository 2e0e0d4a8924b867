import { PollmodeError } from '../../errors.js';
import { IFNAMSIZ } from '../../kernel/constants.js';
import { checkName, readLink } from '../../kernel/link.js';
import { deleteNtuple, isNtuple, MOST_LOCATIONS, readNtuple, readNtupleTable, SPEC_BYTES } from '../../kernel/ntuple.js';
import { numberField, textField, type Change, type Fields, type Kind } from '../kind.js';

/** A rule in a NIC's table (ethtool -N). */
export interface NtupleChange extends Change {
  readonly kind: 'ntuple';
  readonly ifname: string;
  /** With the name it tells the interface from a later one of the same name. */
  readonly ifindex: number;
  /** Where it stands; absent where the driver chooses, which is known only once it is there. */
  readonly location?: number;
  /** Of such a driver: where rules that are no other's stood before, so that they are not taken for ours. */
  readonly others?: readonly number[];
  /** The rule, in hexadecimal: another at its place has another owner, and is left alone. */
  readonly spec: string;
}

export const ntupleKind: Kind<NtupleChange> = {
  kind: 'ntuple',
  namespaced: () => true,
  check(fields: Fields) {
    const ifname = textField(fields, 'ifname', IFNAMSIZ - 1);
    checkName(ifname);
    return {
      kind: 'ntuple', ifname, ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff), spec: specField(fields),
      ...(fields['location'] === undefined ? {} : { location: numberField(fields, 'location', 0, 0xffffffff) }),
      ...(fields['others'] === undefined ? {} : { others: othersField(fields) }),
    };
  },
  describe: ({ ifname, location }) => `n-tuple rule ${location ?? 'of a place that its driver chose'} of ${ifname} away again`,
  undo({ ifname, ifindex, location, others = [], spec }) {
    if (readLink(ifname).ifindex !== ifindex) throw new PollmodeError('ENOTFOUND', `${ifname} is another interface now: its rules were left alone.`);
    const given = Uint8Array.from(Buffer.from(spec, 'hex'));
    const { taken } = readNtupleTable(ifname);
    const places = location === undefined ? taken.filter(place => !others.includes(place)) : taken.filter(place => place === location);
    const ours = places.find(place => isNtuple(readNtuple(ifname, place), given));
    if (ours === undefined) return location !== undefined && places.length > 0 ? 'superseded' : 'unchanged';
    deleteNtuple(ifname, ours);
    return 'undone';
  },
};

function specField({ spec }: Fields): string {
  if (typeof spec !== 'string' || spec.length !== 2 * SPEC_BYTES || !/^[0-9a-f]+$/.test(spec)) throw malformed('spec', `${SPEC_BYTES} bytes in hexadecimal`);
  return spec;
}

function othersField({ others }: Fields): number[] {
  if (!Array.isArray(others) || others.length > MOST_LOCATIONS) throw malformed('others', `at most ${MOST_LOCATIONS} places`);
  return others.map((_, index) => numberField(others as unknown as Fields, String(index), 0, 0xffffffff));
}

function malformed(name: string, wanted: string): PollmodeError {
  return new PollmodeError('EFORMAT', `A journal entry's "${name}" is not ${wanted}: nothing was written; look for a rule too many by hand (ethtool -n).`);
}
