/** The only list of what a journal can undo. A new kind is a file in kinds/ and a line here. */
import type { Change, Kind } from './kind.js';
import { channelsKind } from './kinds/channels.js';
import { featureKind } from './kinds/feature.js';
import { napiKind } from './kinds/napi.js';
import { ntupleKind } from './kinds/ntuple.js';
import { pciDriverKind } from './kinds/pci_driver.js';
import { rssKind } from './kinds/rss.js';
import { sysfsKind } from './kinds/sysfs.js';
import { virtualFunctionsKind } from './kinds/virtual_functions.js';

export type Kinds = readonly Kind<Change>[];

export const kinds: Kinds = [
  sysfsKind,
  channelsKind,
  napiKind,
  rssKind,
  featureKind,
  ntupleKind,
  pciDriverKind,
  virtualFunctionsKind,
].map(kind => kind as unknown as Kind<Change>);
