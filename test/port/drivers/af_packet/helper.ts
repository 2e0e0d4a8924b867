/** Ports of the af_packet driver in a lab of the test's own. */
import type { Test as Tap } from 'tap';
import { openLab, type Lab, type LabEnd, type LabOptions } from '../../../../lib/lab/veth.js';
import { open, type Host, type OpenOptions } from '../../../../lib/port/host.js';
import { needs } from '../../../kernel/rights.js';

export const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');

export function device({ name, netns }: LabEnd, options = ''): string {
  return `af_packet:${name},netns=/proc/self/fd/${netns}${options === '' ? '' : `,${options}`}`;
}

/** A lab with a port on end a. Everything is closed afterwards, and every mbuf must be back. */
export function withPort(t: Tap, options: string, work: (lab: Lab, host: Host) => void, lab: LabOptions = {}, how: OpenOptions = {}): void {
  const wires = openLab(lab);
  try {
    const host = open([device(wires.a, options)], how);
    work(wires, host);
    closeAndAudit(t, host);
  } finally {
    wires.close();
  }
}

export function closeAndAudit(t: Tap, host: Host): void {
  host.close();
  const { total, free, twice } = host.pool.audit();
  t.same({ free, twice }, { free: total, twice: 0 }, 'every mbuf is back');
}
