/** How many queues an interface has (ethtool -L): read before a port is opened, and changed where the port was told to. */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { changeChannels } from '../../../journal/changes.js';
import type { JournalEntry } from '../../../journal/journal.js';
import { readChannels, type Channels } from '../../../kernel/ethtool.js';
import type { Link } from '../../../kernel/link.js';

/** How long the kernel may take to let go of a closed port's queues, before which it refuses to take them away. */
const GIVE_BACK_TRIES = 100;
const GIVE_BACK_PAUSE_MS = 5;

/** Receive queues that are in use now. A link's own `rxQueues` are those that it was made with. */
export function activeQueues(device: string, link: Link): number {
  const channels = channelsOf(device);
  return channels === undefined ? link.rxQueues : channels.rx + channels.combined || link.rxQueues;
}

/** The journal has what there was before. Returns undefined when there are so many already. Throws EOPTION, EUNSUPPORTED, ERIGHTS. */
export function takeChannels(device: string, count: number): JournalEntry | undefined {
  const now = channelsOf(device);
  if (now === undefined) throw new PollmodeError('EUNSUPPORTED', `${device} has a fixed number of queues: leave channels= out.`);
  const combined = now.maxCombined > 0;
  const most = combined ? now.maxCombined : now.maxRx;
  if (count > most) {
    throw new PollmodeError('EOPTION', `${device} has at most ${most} channel${most === 1 ? '' : 's'}, not ${count}: ask for fewer (channels=); a veth or a virtual NIC has to be made with more (ip link add ... numrxqueues ${count} numtxqueues ${count}).`);
  }
  const tx = Math.min(count, now.maxTx);
  if (combined ? now.combined === count : now.rx === count && now.tx === tx) return undefined;
  return changeChannels(device, combined ? { combined: count } : { rx: count, tx });
}

/** As it was before, as soon as the kernel lets it be. What it refuses for good stays in the journal. */
export function giveBackChannels(entry: JournalEntry): void {
  for (let tries = 0; entry.undo().result === 'kept' && tries < GIVE_BACK_TRIES; tries++) binding().poll(new Int32Array(), GIVE_BACK_PAUSE_MS);
}

function channelsOf(device: string): Channels | undefined {
  try {
    return readChannels(device);
  } catch (refusal) {
    if (refusal instanceof PollmodeError && refusal.code === 'EUNSUPPORTED') return undefined;
    throw refusal;
  }
}
