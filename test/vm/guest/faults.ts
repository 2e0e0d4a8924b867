/** What every NIC in our hands must withstand, Linux at the other end of its wire; and that its data path makes no system call. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { binding } from '../../../lib/binding.js';
import { writeSysfs } from '../../../lib/kernel/pci.js';
import { launch } from '../../../lib/lcore/lcore.js';
import { receiveBy } from '../../port/conformance/wires.js';
import { equals, numbered, type Both } from './exchange.js';
import { MOVER_CALLS, MOVER_MOVED, MOVER_STOP, MOVER_TID } from './mover.js';
import { kernelLog, monitor, until } from './wire.js';

const TRAFFIC = fileURLToPath(new URL('traffic.js', import.meta.url));
const HOLDER = fileURLToPath(new URL('vfio_holder.js', import.meta.url));

/** A thread of its own that never sleeps: neither strace nor the addon's counter sees it call anything. */
export async function busyLcore(t: Test, { host, port, wire }: Both): Promise<void> {
  const shared = host.arena.reserve('mover', 64);
  const word = (index: number): number => Atomics.load(host.arena.u32, (shared.offset >>> 2) + index);
  const lcore = await launch(host, {
    module: new URL('mover.js', import.meta.url), name: 'mover',
    queues: [{ port: port.number, direction: 'rx', queue: 0 }, { port: port.number, direction: 'tx', queue: 0 }],
    args: { port: port.number, at: shared.offset },
  });
  // There and back again: what it sends is what Linux sent.
  let back = 0;
  const exchange = async (count: number): Promise<boolean> => {
    const wanted = back + count;
    await wire.send(Array.from({ length: count }, (_, i) => numbered(i)));
    return until(() => { back += wire.receive().length; return back >= wanted; });
  };
  for (let i = 0; i < 20; i++) t.ok(await exchange(100), 'warm');
  t.equal(readFileSync(`/proc/self/task/${word(MOVER_TID)}/comm`, 'utf8').trim(), 'mover', 'the thread has its name');
  // A compiler of V8's may still have a word with its helpers (futex), so there is more than one try.
  let calls: string[] = [];
  for (let tries = 0; tries < 5 && (tries === 0 || calls.length > 0); tries++) {
    const trace = join(tmpdir(), `strace-${process.pid}-${tries}`);
    const strace = spawn('strace', ['-f', '-o', trace, '-p', String(word(MOVER_TID))], { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(strace.stderr!, 'data'); // attached
    for (let i = 0; i < 5; i++) t.ok(await exchange(100));
    strace.kill('SIGINT');
    await once(strace, 'close');
    calls = readFileSync(trace, 'utf8').split('\n').filter(line => line.startsWith(`${word(MOVER_TID)} `) && !line.includes('+++ '));
    rmSync(trace);
  }
  t.same(calls, [], 'no system call of it while 500 packets went each way');
  Atomics.store(host.arena.u32, (shared.offset >>> 2) + MOVER_STOP, 1);
  const ended = await lcore.ended;
  t.equal(ended.how, 'returned');
  t.equal(word(MOVER_CALLS), 1, 'of the addon: only the asking for their number');
  t.ok(word(MOVER_MOVED) >= 2500);
}

/** The pool is whole after the port's close, and the device works when it is opened anew. */
export async function closedAndOpenedAnew(t: Test, { host, port, wire }: Both, device: string): Promise<void> {
  port.close();
  t.equal(host.pool.audit().free, host.pool.size, 'every mbuf is back');
  const again = host.add(device);
  await until(() => again.link!.read().up);
  await wire.send([numbered(3)]);
  t.ok(await until(() => receiveBy(host, again).some(each => equals(each, numbered(3)))), 'opened anew, it works');
}

/** `spoil` makes the addresses in the port's receive ring ones that were never mapped, in a page from 0x70_0000_0000 on. */
export async function outsideDescriptors(t: Test, both: Both, device: string, faulty: string, spoil: () => void): Promise<void> {
  const { host, wire } = both;
  spoil();
  const before = kernelLog().split('DMAR').length;
  const pool = (): Uint8Array => host.arena.u8.subarray(host.pool.buffers.offset, host.pool.buffers.offset + host.pool.buffers.length);
  const untouched = Uint8Array.from(pool());
  await wire.send(Array.from({ length: 10 }, (_, i) => numbered(i)));
  t.ok(await until(() => kernelLog().split('DMAR').length > before), 'the kernel\'s log has the fault');
  t.match(kernelLog(), new RegExp(`DMAR: \\[DMA Write[^\\n]*${faulty}[^\\n]*70[0-9a-f]{8}|DMAR:[^\\n]*${faulty}[^\\n]*fault`, 'i'));
  t.equal(Buffer.compare(untouched, pool()), 0, 'no byte of the pool was written');
  await closedAndOpenedAnew(t, both, device);
}

/** Somebody else resets it while frames come and go. */
export async function resetUnderTraffic(t: Test, both: Both, nic: string, device: string): Promise<void> {
  const { host, port, wire } = both;
  const burst = host.burst(32);
  const turn = (): number => {
    if (host.pool.alloc(burst, 32) === 32) {
      for (let i = 0; i < 32; i++) host.mbufs.copyIn(burst.handles[i]!, numbered(i));
      host.pool.free(burst, port.tx[0]!.txBurst(burst, 32), 32);
    }
    const got = port.rx[0]!.rxBurst(burst);
    host.pool.free(burst, 0, got);
    return got;
  };
  await wire.send(Array.from({ length: 32 }, (_, i) => numbered(i)));
  t.ok(await until(() => turn() > 0), 'frames move');
  writeSysfs(`/sys/bus/pci/devices/${nic}/reset`, '1');
  await wire.send([numbered(1)]);
  for (let i = 0; i < 1000; i++) turn();
  host.stats(port);
  port.link!.read();
  await closedAndOpenedAnew(t, both, device);
}

/** Killed in the middle of traffic, twice; `openBoth` opens it again at once. */
export async function killedAndOpened(t: Test, device: string, openBoth: () => Promise<Both> | Both): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const child = spawn(process.execPath, [TRAFFIC, device], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout!, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  const { host, port, wire } = await openBoth();
  await wire.send([numbered(9)]);
  t.ok(await until(() => receiveBy(host, port).some(each => equals(each, numbered(9)))));
  t.equal(host.pool.audit().app, 0);
}

/** While it is open, another process is refused, by name. */
export function heldElsewhere(t: Test, nic: string): void {
  const other = spawnSync(process.execPath, [HOLDER, nic], { encoding: 'utf8' });
  t.equal(other.stdout, 'EBUSYQUEUE\n', other.stderr);
}

/** The port is asked to close, and then the device goes; `plug` brings another one into its slot. Each is QEMU's name or line. */
export async function pulledOut(t: Test, { host, port }: Both, nic: string, { id, plug }: { readonly id: string; readonly plug: string }): Promise<void> {
  const there = (): boolean => existsSync(`/sys/bus/pci/devices/${nic}`);
  const asked = (): boolean => binding().poll(Int32Array.of(port.removal!, 1), 0) > 0;
  t.notOk(asked());
  monitor(`device_del ${id}`);
  t.ok(await until(asked, 60), 'the request interrupt');
  t.ok(there(), 'it waits for us');
  const burst = host.burst(32);
  for (let i = 0; i < 100; i++) host.pool.free(burst, 0, port.rx[0]!.rxBurst(burst));
  port.close();
  t.equal(host.pool.audit().free, host.pool.size);
  t.ok(await until(() => !there(), 60), 'gone');
  t.throws(() => host.add(`vfio:${nic}`), { code: 'ENOTFOUND' });
  await sleep(1000);
  monitor(`device_add ${plug}`);
  t.ok(await until(there, 60), 'back');
}
