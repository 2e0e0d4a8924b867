/** What the tests of the pcap port share. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Host, OpenOptions, PortRequest } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import type { Burst } from '../../../lib/burst/burst.js';
import { RX_TIMESTAMP } from '../../../lib/mbuf/layout.js';
import { pattern, readCapture, writeCapture, type Seen } from '../../wire/pcap_helper.js';
import { openFor as openPorts } from '../open_helper.js';

export const SMALL: OpenOptions = { mbufs: 64, arenaOptions: { size: 16 << 20 } };

/** Frames that differ in length, contents and time. */
export function someFrames(count: number): Seen[] {
  return Array.from({ length: count }, (_, i) => ({ bytes: pattern(14 + (i * 37) % 1500, i), length: 14 + (i * 37) % 1500, time: [1_700_000_000 + i, (i * 7919) % 1e9] as const }));
}

/** A folder that goes with the test, and files in it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'pollmode-pcap-'));

  constructor(t: Test) {
    t.teardown(() => rmSync(this.path, { recursive: true, force: true }));
  }

  file(name: string, bytes?: Uint8Array): string {
    const path = join(this.path, name);
    if (bytes !== undefined) writeFileSync(path, bytes);
    return path;
  }

  capture(name: string, frames: readonly Seen[]): string {
    return this.file(name, writeCapture(name.endsWith('ng') ? 'pcapng' : 'pcap', frames));
  }

  read(name: string): Seen[] {
    return readCapture(readFileSync(join(this.path, name)), { window: 4096 }).frames;
  }
}

/** Opens ports for a test, small ones. */
export function openFor(t: Test, requests: readonly PortRequest[], options = SMALL): Host {
  return openPorts(t, requests, options);
}

/** What the first `count` mbufs of a burst hold. */
export function framesOf(host: Host, burst: Burst, count: number): Seen[] {
  return Array.from(burst.handles.subarray(0, count), handle => ({
    bytes: host.mbufs.copyOut(handle), length: host.mbufs.pktLen(handle),
    time: (host.mbufs.flags(handle) & RX_TIMESTAMP) === 0 ? undefined : [host.mbufs.timestampSeconds(handle), host.mbufs.timestampNanoseconds(handle)] as const,
  }));
}

/** Receives and frees until the port is finished. Throws when it does not come to that. */
export function receiveAll(host: Host, port: Port, burst: Burst, calls = 100_000): Seen[] {
  const seen: Seen[] = [];
  for (let call = 0; port.finished !== true; call++) {
    if (call === calls) throw new Error(`not finished after ${calls} calls`);
    const got = port.rx[0]!.rxBurst(burst);
    seen.push(...framesOf(host, burst, got));
    host.pool.free(burst, 0, got);
  }
  return seen;
}
