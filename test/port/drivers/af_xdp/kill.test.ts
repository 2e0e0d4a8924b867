/** kill -9 in the middle of traffic: the kernel takes everything back, and the next opener does not notice. */
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { PollmodeError } from '../../../../lib/errors.js';
import { binding } from '../../../../lib/binding.js';
import { programById } from '../../../../lib/kernel/bpf.js';
import type { LabEnd } from '../../../../lib/lab/veth.js';
import { startChild } from '../../../native/child.js';
import { RawSocket, receiveSome, sendAll } from '../kernel_helper.js';
import { attached, closeBalanced, inLab, LONG, openAt, randomFrames, sameFrames, until } from './helper.js';

const TIMES = LONG ? 200 : 20;

/** A process that sends and receives on one end for ever; it says the number of its program when a thousand packets have gone. */
function busyChild(end: LabEnd, rest: string): ChildProcess {
  return startChild(`
    const { open } = await import(LIB + 'port/host.js');
    const { withNetnsPath } = await import(LIB + 'kernel/netns.js');
    const { readLink } = await import(LIB + 'kernel/link.js');
    const netns = '/proc/${process.pid}/fd/${end.netns}';
    const host = open(['af_xdp:${end.name},${rest},netns=' + netns], { mbufs: 8192 });
    const { rx: [rx], tx: [tx] } = host.ports[0];
    const burst = host.burst(32);
    let packets = 0, said = false;
    const turn = () => {
      for (let i = 0; i < 20; i++) {
        const got = rx.rxBurst(burst);
        host.pool.free(burst, 0, got);
        const made = host.pool.alloc(burst, 32);
        for (let k = 0; k < made; k++) host.mbufs.append(burst.handles[k], 60 + k);
        const sent = tx.txBurst(burst, made);
        host.pool.free(burst, sent, made);
        packets += sent + got;
      }
      if (packets > 1000 && !said) {
        said = true;
        console.log(withNetnsPath(netns, () => readLink('${end.name}').xdp.programId));
      }
      setImmediate(turn);
    };
    turn();`);
}

/** Is the program gone from the kernel? It frees it after a moment of its own. */
function gone(program: number): boolean {
  try {
    binding().close(programById(program));
    return false;
  } catch (error) {
    return error instanceof PollmodeError && error.code === 'ENOTFOUND';
  }
}

for (const mode of ['native', 'generic']) {
  inLab(`kill -9 during traffic, ${TIMES / 2} times, ${mode}: no program is left, and the queue opens again at once`, {}, async (t, lab) => {
    const raw = new RawSocket(lab.b);
    for (let time = 0; time < TIMES / 2; time++) {
      const child = busyChild(lab.a, `mode=${mode},need_wakeup=${time % 2},tx_ring=256`);
      const noise = setInterval(() => { for (const each of randomFrames(lab.b, lab.a, 50)) raw.send(each); }, 1);
      const [line] = await once(child.stdout!, 'data') as [Buffer];
      const program = Number(line.toString());
      t.equal(attached(lab.a), mode, `${time}: program ${program} is attached`);
      child.kill('SIGKILL');
      await once(child, 'exit');
      clearInterval(noise);
      t.equal(attached(lab.a), 'none', 'and is not, as soon as the process is gone');
      t.ok(await until(() => gone(program)), 'nor is it anywhere else');
      const host = openAt(lab.a, `mode=${mode}`);
      raw.receive();
      const [out, back] = [randomFrames(lab.a, lab.b, 30), randomFrames(lab.b, lab.a, 30)];
      for (const each of back) raw.send(each);
      sameFrames(t, receiveSome(host, host.ports[0]!, 30).map(({ bytes }) => bytes), back, 'received');
      sendAll(host, host.ports[0]!, out);
      const found: Uint8Array[] = [];
      await until(() => found.push(...raw.receive()) >= out.length);
      sameFrames(t, found, out, 'sent');
      closeBalanced(t, host);
    }
    raw.close();
  });
}

inLab('kill -9 of one of two processes on two queues leaves the other at work', { queues: 2 }, async (t, lab) => {
  const host = openAt(lab.a, 'queue=0');
  const child = busyChild(lab.a, 'queue=1');
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.equal(attached(lab.a), 'native', 'what we attached stays');
  const raw = new RawSocket(lab.b);
  raw.receive();
  const out = randomFrames(lab.a, lab.b, 60);
  sendAll(host, host.ports[0]!, out);
  const found: Uint8Array[] = [];
  await until(() => found.push(...raw.receive()) >= out.length);
  sameFrames(t, found, out, 'sent');
  raw.close();
  const again = openAt(lab.a, 'queue=1');
  t.match(again.ports[0]!.capabilities.mode, /\(joined\)/);
  closeBalanced(t, again);
  closeBalanced(t, host);
});
