/** Labs for the AF_XDP driver: each test proves at its end that nothing is left of it. */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { parseAttributes } from '../../../../lib/kernel/attributes.js';
import { getU64, setI32 } from '../../../../lib/kernel/bytes.js';
import { NETLINK_ROUTE } from '../../../../lib/kernel/constants.js';
import { readLink } from '../../../../lib/kernel/link.js';
import { netlinkRequest } from '../../../../lib/kernel/netlink.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { openLab, type Lab, type LabEnd, type LabOptions } from '../../../../lib/lab/veth.js';
import { open, type Host, type OpenOptions } from '../../../../lib/port/host.js';
import { needs } from '../../../kernel/rights.js';
import { frame } from '../kernel_helper.js';

export const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
export const LONG = process.env['POLLMODE_LONG'] === '1';

/** A test in a lab of its own. At its end no program is attached, and this process has the descriptors that it had before. */
export function inLab(name: string, options: LabOptions, body: (t: Test, lab: Lab) => Promise<void> | void): void {
  t.test(name, rights, async t => {
    const before = openFiles();
    const lab = openLab(options);
    try {
      await body(t, lab);
      for (const end of [lab.a, lab.b]) t.equal(attached(end), 'none', `no program is left on ${end.name}`);
    } finally {
      lab.close();
    }
    t.same(openFiles(), before, 'no descriptor is left');
  });
}

/** Numbers and targets of this process's descriptors. What libuv opens once for all is there from the first test on. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').sort();
}

/** Opens `af_xdp:NAME,REST` at one end. */
export function openAt(end: LabEnd, rest = '', options: OpenOptions = {}): Host {
  return withNetns(end.netns, () => open([`af_xdp:${end.name}${rest === '' ? '' : `,${rest}`}`], options));
}

/** Where a program is attached to an end, by the kernel's word; "gone" without the interface. */
export function attached(end: LabEnd): string {
  return withNetns(end.netns, () => {
    try {
      return readLink(end.ifindex).xdp.where;
    } catch {
      return 'none';
    }
  });
}

/** Closes the ports, and proves that all mbufs but `held` (the program's own) are free. */
export function closeBalanced(t: Test, host: Host, held = 0): void {
  for (const port of host.ports) port.close();
  const { total, free, app, stray, twice } = host.pool.audit();
  t.same({ free, app, stray, twice }, { free: total - held, app: held, stray: 0, twice: 0 }, 'every mbuf is accounted for');
  host.close();
}

export interface LinkCounts { rxPackets: number; txPackets: number; rxBytes: number; txBytes: number; rxDropped: number; txDropped: number }

/** The kernel's counters of an interface (struct rtnl_link_stats64). */
export function linkCounts(end: LabEnd): LinkCounts {
  return withNetns(end.netns, () => {
    const request = new Uint8Array(16); // struct ifinfomsg
    setI32(request, 4, end.ifindex);
    const [answer] = netlinkRequest(NETLINK_ROUTE, 18, 0, request, 'read link');
    const counts = parseAttributes(answer!.payload.subarray(16)).get(23)!;
    const [rxPackets, txPackets, rxBytes, txBytes, , , rxDropped, txDropped] = Array.from({ length: 8 }, (_, i) => Number(getU64(counts, i * 8)));
    return { rxPackets: rxPackets!, txPackets: txPackets!, rxBytes: rxBytes!, txBytes: txBytes!, rxDropped: rxDropped!, txDropped: txDropped! };
  });
}

export function difference(after: LinkCounts, before: LinkCounts): LinkCounts {
  return Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name as keyof LinkCounts]])) as unknown as LinkCounts;
}

/** `count` numbered frames of random lengths in [shortest, longest], both ends among them. */
export function randomFrames(from: LabEnd, to: LabEnd, count: number, shortest = 60, longest = 1514): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const length = i === 0 ? shortest : i === 1 ? longest : shortest + Math.floor(Math.random() * (longest - shortest + 1));
    return frame(from, to, i, length);
  });
}

export function totalBytes(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, each) => sum + each.length, 0);
}

/** Are both lists the same frames in the same order? Says where they part. */
export function sameFrames(t: Test, found: readonly Uint8Array[], wanted: readonly Uint8Array[], text: string): void {
  const at = wanted.findIndex((each, i) => found[i] === undefined || Buffer.compare(found[i], each) !== 0);
  if (at < 0 && found.length === wanted.length) t.pass(`${text}: ${found.length} frames, whole and in order`);
  else t.fail(`${text}: ${found.length} frames of ${wanted.length}; the first that differs is number ${at}`, { found: found[at]?.subarray(0, 32), wanted: wanted[at]?.subarray(0, 32), lengths: [found[at]?.length, wanted[at]?.length] });
}

/** Until `ready` returns true, or a minute has passed. Returns whether it did. */
export async function until(ready: () => boolean): Promise<boolean> {
  const deadline = performance.now() + 60_000;
  while (!ready()) {
    if (performance.now() > deadline) return false;
    await sleep(1);
  }
  return true;
}

/** Gives the kernel a moment, in this thread. */
export function pause(milliseconds: number): void {
  binding().poll(new Int32Array(), milliseconds);
}
