/** When an interface's interrupts come while somebody polls it: napi_defer_hard_irqs and gro_flush_timeout. */
import { readFileSync } from 'node:fs';
import { PollmodeError } from '../../../errors.js';
import { changeNapi, changeSysfs } from '../../../journal/changes.js';
import type { JournalEntry } from '../../../journal/journal.js';
import type { Link } from '../../../kernel/link.js';
import { listNapis } from '../../../kernel/napi.js';
import { listQueues } from '../../../kernel/queues.js';
import type { Settings } from './options.js';

/**
 * As the options say, in the journal first. Once the sockets are bound, in the interface's namespace: some drivers have
 * no NAPI before there is a program. Where sysfs shows the interface its values are changed, which NAPIs that come later
 * have too; sysfs shows the namespace that it was mounted for, so elsewhere each NAPI is told by itself. Undoes its own
 * when it fails. Throws EUNSUPPORTED, ERIGHTS.
 */
export function deferInterrupts(options: Settings, link: Link): JournalEntry[] {
  const { napiDefer, groFlush } = options;
  const entries: JournalEntry[] = [];
  if (napiDefer === undefined && groFlush === undefined) return entries;
  try {
    if (isInSysfs(link)) {
      if (napiDefer !== undefined) entries.push(changeSysfs(`/sys/class/net/${link.name}/napi_defer_hard_irqs`, String(napiDefer)));
      if (groFlush !== undefined) entries.push(changeSysfs(`/sys/class/net/${link.name}/gro_flush_timeout`, String(groFlush)));
    } else {
      const to = { ...(napiDefer === undefined ? {} : { deferHardIrqs: napiDefer }), ...(groFlush === undefined ? {} : { groFlushNs: groFlush }) };
      for (const napi of napisOf(options, link)) entries.push(changeNapi(napi, to));
    }
    return entries;
  } catch (cause) {
    restoreInterrupts(entries);
    throw cause;
  }
}

/** As they came before, the latest first. */
export function restoreInterrupts(entries: readonly JournalEntry[]): void {
  for (const entry of [...entries].reverse()) entry.undo();
}

/** Is it the interface that sysfs has by that name? Another namespace may have one so named. */
function isInSysfs({ name, ifindex, mac }: Link): boolean {
  try {
    const read = (file: string): string => readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
    return read('ifindex') === String(ifindex) && read('address') === mac;
  } catch {
    return false;
  }
}

/** Those of the port's queues, where the driver says which; else all that the interface has. */
function napisOf({ device, queue, queues }: Settings, { ifindex }: Link): number[] {
  const told = asTold(() => listQueues(ifindex)).filter(each => each.napi !== 0 && each.queue >= queue && each.queue < queue + queues).map(each => each.napi);
  const napis = told.length > 0 ? [...new Set(told)] : asTold(() => listNapis(ifindex)).map(({ id }) => id);
  if (napis.length > 0) return napis;
  throw new PollmodeError('EUNSUPPORTED', `af_xdp:${device}: when its interrupts come cannot be changed: sysfs here is another namespace's, and the kernel tells of no NAPI of this one. Leave napi_defer= and gro_flush= out, use Linux 6.13 or newer, or mount sysfs in that namespace (as ip netns exec does); mode=generic has none of its own.`);
}

/** What the kernel tells; nothing where it is too old for the question. */
function asTold<T>(ask: () => T[]): T[] {
  try {
    return ask();
  } catch (cause) {
    if (cause instanceof PollmodeError && (cause.code === 'ENOTFOUND' || cause.code === 'EUNSUPPORTED')) return [];
    throw cause;
  }
}
