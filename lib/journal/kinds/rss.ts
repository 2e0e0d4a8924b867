import { PollmodeError } from '../../errors.js';
import { IFNAMSIZ } from '../../kernel/constants.js';
import { checkName, readLink } from '../../kernel/link.js';
import { readNicRss, setNicRss } from '../../kernel/rss.js';
import { numberField, objectField, textField, type Change, type Fields, type Kind } from '../kind.js';

/** A NIC's redirection table and RSS key (ethtool -X). */
export interface RssChange extends Change {
  readonly kind: 'rss';
  readonly ifname: string;
  /** With the name it tells the interface from a later one of the same name. */
  readonly ifindex: number;
  /** The queue of each entry, and the key in hexadecimal. */
  readonly was: { readonly reta: readonly number[]; readonly key: string };
}

const MAX_ENTRIES = 65536;
const MAX_KEY = 4096;

export const rssKind: Kind<RssChange> = {
  kind: 'rss',
  namespaced: () => true,
  check(fields: Fields) {
    const was = objectField(fields, 'was');
    const ifname = textField(fields, 'ifname', IFNAMSIZ - 1);
    checkName(ifname);
    return { kind: 'rss', ifname, ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff), was: { reta: tableField(was), key: keyField(was) } };
  },
  describe: ({ ifname, was }) => `RSS of ${ifname} back to a table of ${was.reta.length} entries over ${new Set(was.reta).size} queues`,
  /** Whatever stands there now: a table is changed many times by who recorded it once. */
  undo({ ifname, ifindex, was }) {
    if (readLink(ifname).ifindex !== ifindex) throw new PollmodeError('ENOTFOUND', `${ifname} is another interface now: its RSS was left alone.`);
    const now = readNicRss(ifname);
    const changed = hex(now.key) !== was.key || !isSame(now.reta, was.reta);
    const key = was.key === '' ? {} : { key: Uint8Array.from(Buffer.from(was.key, 'hex')) };
    // A table as the driver makes it by itself is made by it again: a chosen one would hold up who wants fewer queues.
    if (isRound(was.reta)) setNicRss(ifname, { reta: 'default', ...key });
    const left = readNicRss(ifname);
    if (hex(left.key) !== was.key || !isSame(left.reta, was.reta)) setNicRss(ifname, { reta: was.reta, ...key });
    return changed ? 'undone' : 'unchanged';
  },
};

/** Do the buckets go round the queues (ethtool_rxfh_indir_default)? */
function isRound(reta: readonly number[]): boolean {
  const queues = reta.reduce((most, queue) => Math.max(most, queue + 1), 0);
  return reta.every((queue, entry) => queue === entry % queues);
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((queue, entry) => queue === other[entry]);
}

/** What to record before changing an interface's RSS. Throws EUNSUPPORTED where it has none, ENOTFOUND. */
export function rssChange(ifname: string): RssChange {
  const { reta, key } = readNicRss(ifname);
  return { kind: 'rss', ifname, ifindex: readLink(ifname).ifindex, was: { reta, key: hex(key) } };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function tableField({ reta }: Fields): number[] {
  if (!Array.isArray(reta) || reta.length < 1 || reta.length > MAX_ENTRIES) throw malformed('reta', `1 to ${MAX_ENTRIES} queues`);
  return reta.map((_, entry) => numberField(reta as unknown as Fields, String(entry), 0, 65535));
}

function keyField({ key }: Fields): string {
  if (typeof key !== 'string' || key.length > 2 * MAX_KEY || !/^([0-9a-f]{2})*$/.test(key)) throw malformed('key', `at most ${MAX_KEY} bytes in hexadecimal`);
  return key;
}

function malformed(name: string, wanted: string): PollmodeError {
  return new PollmodeError('EFORMAT', `A journal entry's "${name}" is not ${wanted}: nothing was written; put the setting right by hand (ethtool -X).`);
}
