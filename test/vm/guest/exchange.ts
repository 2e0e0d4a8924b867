/** What every NIC driver must carry to Linux and back: pings, and many frames, each byte checked. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { addAddress } from '../../../lib/kernel/link_addresses.js';
import type { Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { frame } from '../../port/conformance/frames.js';
import { receiveBy, type RawWire } from '../../port/conformance/wires.js';
import { ADDRESS, Responder } from './responder.js';
import { until } from './wire.js';

/** Frames each way. */
export const MANY = process.env['POLLMODE_LONG'] === '1' ? 1_000_000 : 20_000;

/** An opened port, and a raw socket at the other end of its wire. */
export interface Both { readonly host: Host; readonly port: Port; readonly wire: RawWire }

/** A frame of 60 to 1514 bytes that is no other's. */
export function numbered(number: number): Uint8Array {
  return frame(60 + (number * 7919) % 1455, number + 1);
}

export function equals(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** Linux's ping at the other end, ARP and all, with the port's thread asleep in between. */
export async function pings(t: Test, { host, port }: Both, ifindex: number): Promise<void> {
  addAddress(ifindex, '192.0.2.1', 24);
  const stop = new AbortController();
  const responder = new Responder(host, port);
  t.teardown(() => stop.abort());
  const running = responder.run(stop.signal);
  const ping = spawn('/bin/busybox', ['ping', '-c', '20', '-i', '0.05', '-W', '5', ADDRESS], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  ping.stdout.on('data', (chunk: Buffer) => { said += String(chunk); });
  const [code] = await once(ping, 'close') as [number];
  t.equal(code, 0, said);
  t.match(said, /20 packets transmitted, 20 packets received/);
  t.ok(responder.counts.arp >= 1 && responder.counts.ping >= 20, JSON.stringify(responder.counts));
  stop.abort();
  await running;
  t.equal(host.pool.audit().app, 0);
}

/** MANY frames from the port to Linux, in order. `outgoing`: what the device lets out of a numbered frame. Returns how many arrived. */
export async function toLinux(t: Test, { host, port, wire }: Both, outgoing: (bytes: Uint8Array) => Uint8Array = bytes => bytes): Promise<number> {
  const burst = host.burst(64);
  let wrong = 0;
  let received = 0;
  for (let sent = 0; sent < MANY;) {
    host.pool.alloc(burst, 64);
    for (let i = 0; i < 64; i++) host.mbufs.copyIn(burst.handles[i]!, outgoing(numbered(sent + i)));
    for (let left = 64; left > 0;) {
      const taken = port.tx[0]!.txBurst(burst, left);
      if (taken > 0 && taken < left) burst.keep(taken, left);
      left -= taken;
    }
    sent += 64;
    const all = await until(() => {
      for (const bytes of wire.receive()) if (!equals(bytes, outgoing(numbered(received++)))) wrong++;
      return received >= sent;
    });
    if (!all) break;
  }
  t.same([received, wrong], [Math.ceil(MANY / 64) * 64, 0]);
  return received;
}

/** The other way. */
export async function fromLinux(t: Test, { host, port, wire }: Both): Promise<number> {
  let wrong = 0;
  let received = 0;
  for (let sent = 0; sent < MANY; sent += 32) {
    await wire.send(Array.from({ length: 32 }, (_, i) => numbered(sent + i)));
    const all = await until(() => {
      for (const bytes of receiveBy(host, port)) if (!equals(bytes, numbered(received++))) wrong++;
      return received >= sent + 32;
    });
    if (!all) break;
  }
  t.same([received, wrong], [Math.ceil(MANY / 32) * 32, 0]);
  return received;
}
