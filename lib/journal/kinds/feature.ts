import { PollmodeError } from '../../errors.js';
import { IFNAMSIZ } from '../../kernel/constants.js';
import { readFeatures, setFeature } from '../../kernel/ethtool.js';
import { checkName, readLink } from '../../kernel/link.js';
import { numberField, textField, type Change, type Fields, type Kind } from '../kind.js';

/** An offload feature that was turned on or off (ethtool -K). */
export interface FeatureChange extends Change {
  readonly kind: 'feature';
  readonly ifname: string;
  /** With the name it tells the interface from a later one of the same name. */
  readonly ifindex: number;
  /** By the name that the ethtool program prints. */
  readonly feature: string;
  /** 1 or 0. */
  readonly was: number;
}

/** What a journal may put back, whoever wrote it. */
const ALLOWED = ['rx-ntuple-filter'];

export const featureKind: Kind<FeatureChange> = {
  kind: 'feature',
  namespaced: () => true,
  check(fields: Fields) {
    const ifname = textField(fields, 'ifname', IFNAMSIZ - 1);
    checkName(ifname);
    const feature = textField(fields, 'feature', 31);
    if (!ALLOWED.includes(feature)) throw new PollmodeError('EFORMAT', `A journal may not change the feature ${JSON.stringify(feature)}: nothing was written; it is for those that lib/journal/kinds/feature.ts lists.`);
    return { kind: 'feature', ifname, ifindex: numberField(fields, 'ifindex', 1, 0x7fffffff), feature, was: numberField(fields, 'was', 0, 1) };
  },
  describe: ({ ifname, feature, was }) => `${feature} of ${ifname} back to ${was === 1 ? 'on' : 'off'}`,
  undo({ ifname, ifindex, feature, was }) {
    if (readLink(ifname).ifindex !== ifindex) throw new PollmodeError('ENOTFOUND', `${ifname} is another interface now: its features were left alone.`);
    if (readFeatures(ifname).get(feature)?.active === (was === 1)) return 'unchanged';
    setFeature(ifname, feature, was === 1);
    return 'undone';
  },
};
