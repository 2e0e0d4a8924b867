/** A peer in another process: killed in the middle of traffic, and slept beside. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { seqpacketSocket, unixAddress } from '../../../../lib/kernel/unix.js';
import { Idle } from '../../../../lib/lcore/idle.js';
import { poll } from '../../../../lib/lcore/poll.js';
import type { Port } from '../../../../lib/port/port.js';
import { folder, opened, SERVER, until } from './ends_helper.js';

t.test('a peer that is killed in the middle of traffic, in either role, and the next one', async t => {
  for (const [ours, theirs] of [[SERVER, ',rsize=6'], [SERVER, ',rsize=6,zero_copy=0'], [',rsize=6', SERVER], [',rsize=6,zero_copy=0', SERVER]] as const) {
    const path = folder(t);
    const listens = theirs === SERVER;
    // Who listens is there first.
    let child = listens ? await peer(t, `memif:${path}${theirs}`, listens) : undefined;
    const { host, ports } = opened(t, `memif:${path}${ours}`);
    const [port] = ports as [Port];
    const burst = host.burst(32);
    for (let i = 0; i < 2; i++) {
      child ??= await peer(t, `memif:${path}${theirs}`, listens);
      let got = 0;
      t.equal(await until(() => {
        const now = port.rx[0]!.rxBurst(burst);
        got += now;
        host.pool.free(burst, 0, now);
        const made = host.pool.alloc(burst, 32);
        for (const handle of burst.handles.subarray(0, made)) host.mbufs.append(handle, 60);
        const sent = port.tx[0]!.txBurst(burst, made);
        if (sent < made) host.pool.free(burst, sent, made);
        return got > 1000;
      }), true, `${got} frames`);
      child.kill('SIGKILL');
      await once(child, 'exit');
      child = undefined;
      t.equal(await until(() => port.link!.read().up !== true), true, 'it is noticed');
      t.equal(host.pool.audit().free, host.pool.size, 'and every mbuf is back');
    }
    host.close();
  }
});

t.test('a poll loop that sleeps at once, and one that adapts, beside a peer of another process', async t => {
  for (const [ours, theirs] of [[SERVER, ',rsize=6'], [',rsize=6', SERVER]] as const) {
    const path = folder(t);
    if (theirs === SERVER) await peer(t, `memif:${path}${theirs}`, true);
    const { host, ports } = opened(t, `memif:${path}${ours}`);
    if (theirs !== SERVER) await peer(t, `memif:${path}${theirs}`, false);
    const [rx] = ports[0]!.rx;
    const burst = host.burst(32);
    for (const policy of ['interrupt', 'adaptive'] as const) {
      const idle = new Idle({ policy, queues: [rx!] });
      let got = 0;
      await poll(() => {
        const now = rx!.rxBurst(burst);
        got += now;
        host.pool.free(burst, 0, now);
        return got < 2000 || idle.stats().wakeups === 0 ? now : false;
      }, { idle, seconds: 60 });
      const { sleeps, wakeups } = idle.stats();
      t.ok(got >= 2000 && sleeps > 0 && wakeups > 0, `${policy}: ${got} frames, ${sleeps} sleeps, ${wakeups} of them ended by a frame`);
    }
    host.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
});

/** A program at the other end; returns when its link is up, or, for one that listens, when it does. */
async function peer(t: Test, device: string, listens: boolean): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./peer_program.js', import.meta.url)), device], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  if (!listens) await once(child.stdout, 'data');
  else await until(() => existsSync(/:(.*?),/.exec(device)![1]!) && connects(device));
  return child;
}

/** A stale file of a killed server is there too. */
function connects(device: string): boolean {
  const fd = seqpacketSocket();
  const result = binding().connect(fd, unixAddress(/:(.*?),/.exec(device)![1]!));
  binding().close(fd);
  return result >= 0;
}
