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
}

/** More than any driver has; the kernel refuses what the interface has not. */
const MAX_CHANNELS = 65535;

export const channelsKind: Kind<ChannelsChange> = {
  kind: 'channels',
  namespaced: () => true,
  check(fields: Fields) {
    const was = objectField(fields, 'was');
    const ifname = textField(fields, 'ifname', IFNAMSIZ - 1);
    checkName(ifname);
    const count = (name: string): number => numberField(was, name, 0, MAX_CHANNELS);
    return {
      kind: 'channels',
      ifname,
      ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff),
      was: { rx: count('rx'), tx: count('tx'), other: count('other'), combined: count('combined') },
    };
  },
  describe: ({ ifname, was }) => `channels of ${ifname} back to rx ${was.rx}, tx ${was.tx}, other ${was.other}, combined ${was.combined}`,
  undo({ ifname, ifindex, was }) {
    if (readLink(ifname).ifindex !== ifindex) {
      throw new PollmodeError('ENOTFOUND', `${ifname} is another interface now: its channels were left alone.`);
    }
    const now = readChannels(ifname);
    if (now.rx === was.rx && now.tx === was.tx && now.other === was.other && now.combined === was.combined) return 'unchanged';
    setChannels(ifname, was);
    return 'undone';
  },
};
