import { PollmodeError } from '../../../../errors.js';
import type { VfioDevice } from '../../../../kernel/vfio.js';
import {
  CAP_BAR, CAP_BYTES, CAP_LENGTH, CAP_MULTIPLIER, CAP_OFFSET, CAP_TYPE, CAP_VENDOR, NEEDED, PCI_CAPABILITIES, PCI_STATUS, PCI_STATUS_CAPABILITIES, TYPE_NOTIFY,
} from './registers.js';

/** Where a structure of the device is. */
export interface Place {
  readonly bar: number;
  readonly offset: number;
  readonly bytes: number;
}

export interface Places {
  readonly common: Place;
  readonly notify: Place;
  readonly device: Place;
  /** Bytes from one queue's notify offset to the next one's. */
  readonly multiplier: number;
}

/** The configuration space has 256 bytes, and a capability takes 4 at least: a longer list is a loop. */
const MOST_CAPABILITIES = 48;
/** What a structure may take of a BAR. The largest known have a page for each of some thousand queues. */
const MOST_BYTES = 16 << 20;

/**
 * 4.1.4: finds the structures by their vendor capabilities. Of several of a kind the first that is good counts, as the
 * device orders them by its own preference. Throws EUNSUPPORTED for a device without them: it is a legacy one.
 */
export function readPlaces(vfio: VfioDevice): Places {
  const found = new Map<number, Place>();
  let multiplier = 0;
  for (const at of capabilities(vfio)) {
    const [type, place] = [byteAt(vfio, at + CAP_TYPE), readPlace(vfio, at)];
    const need = NEEDED.find(([, each]) => each === type);
    if (need === undefined || found.has(type) || !isGood(place, need[2])) continue;
    found.set(type, place);
    if (type === TYPE_NOTIFY) multiplier = byteAt(vfio, at + CAP_LENGTH) >= CAP_MULTIPLIER + 4 ? wordAt(vfio, at + CAP_MULTIPLIER) : 0;
  }
  const [common, notify, device] = NEEDED.map(([name, type]) => {
    const place = found.get(type);
    if (place === undefined) throw new PollmodeError('EUNSUPPORTED', `${vfio.pci.address}: the device has no usable ${name} structure of virtio 1.0 or newer: give the machine a modern one (QEMU: disable-legacy=on).`);
    return place;
  });
  return { common: common!, notify: notify!, device: device!, multiplier };
}

/** Offsets of the vendor's capabilities in the configuration space. */
function capabilities(vfio: VfioDevice): number[] {
  const list: number[] = [];
  if ((vfio.readConfig(PCI_STATUS) & PCI_STATUS_CAPABILITIES) === 0) return list;
  let at = byteAt(vfio, PCI_CAPABILITIES) & 0xfc;
  for (let count = 0; at >= 0x40 && count < MOST_CAPABILITIES; count++) {
    const [id, next] = [byteAt(vfio, at), byteAt(vfio, at + 1) & 0xfc];
    if (id === CAP_VENDOR) list.push(at);
    at = next;
  }
  return list;
}

function readPlace(vfio: VfioDevice, at: number): Place {
  return { bar: byteAt(vfio, at + CAP_BAR), offset: wordAt(vfio, at + CAP_OFFSET), bytes: wordAt(vfio, at + CAP_BYTES) };
}

/** Whether it is inside its BAR is asked when that is mapped. */
function isGood({ bar, offset, bytes }: Place, needed: number): boolean {
  return bar <= 5 && (offset & 3) === 0 && bytes >= needed && offset + bytes <= MOST_BYTES;
}

function byteAt(vfio: VfioDevice, at: number): number {
  return (vfio.readConfig(at & ~1) >>> (8 * (at & 1))) & 0xff;
}

function wordAt(vfio: VfioDevice, at: number): number {
  return (vfio.readConfig(at) | (vfio.readConfig(at + 2) << 16)) >>> 0;
}
