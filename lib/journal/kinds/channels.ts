import { PollmodeError } from '../../errors.js';
import { IFNAMSIZ } from '../../kernel/constants.js';
import { readChannels, setChannels, type Channels } from '../../kernel/ethtool.js';
import { checkName, readLink } from '../../kernel/link.js';
import { numberField, objectField, textField, type Change, type Fields, type Kind } from '../kind.js';

export type ChannelCounts = Pick<Channels, 'rx' | 'tx' | 'other' | 'combined'>;

/** How many queues an interface has (ethtool -L). */
export interface ChannelsChange extends Change {
  readonly kind: 'channels';
  readonly ifname: string;
  /** With the name it tells the interface from a later one of the same name. */
  readonly ifindex: number;
  readonly was: ChannelCounts;
  /** What was set. Counts that are neither have another owner since, and are left alone. */
  readonly to?: ChannelCounts;
}

/** More than any driver has; the kernel refuses what the interface has not. */
const MAX_CHANNELS = 65535;

export const channelsKind: Kind<ChannelsChange> = {
  kind: 'channels',
  namespaced: () => true,
  check(fields: Fields) {
    const ifname = textField(fields, 'ifname', IFNAMSIZ - 1);
    checkName(ifname);
    return {
      kind: 'channels',
      ifname,
      ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff),
      was: countsField(fields, 'was'),
      ...(fields['to'] === undefined ? {} : { to: countsField(fields, 'to') }),
    };
  },
  describe: ({ ifname, was }) => `channels of ${ifname} back to rx ${was.rx}, tx ${was.tx}, other ${was.other}, combined ${was.combined}`,
  undo({ ifname, ifindex, was, to }) {
    if (readLink(ifname).ifindex !== ifindex) {
      throw new PollmodeError('ENOTFOUND', `${ifname} is another interface now: its channels were left alone.`);
    }
    const now = readChannels(ifname);
    if (same(now, was)) return 'unchanged';
    if (to !== undefined && !same(now, to)) return 'superseded';
    setChannels(ifname, was);
    return 'undone';
  },
};

function countsField(fields: Fields, name: string): ChannelCounts {
  const counts = objectField(fields, name);
  const count = (which: string): number => numberField(counts, which, 0, MAX_CHANNELS);
  return { rx: count('rx'), tx: count('tx'), other: count('other'), combined: count('combined') };
}

function same(one: ChannelCounts, other: ChannelCounts): boolean {
  return one.rx === other.rx && one.tx === other.tx && one.other === other.other && one.combined === other.combined;
}
