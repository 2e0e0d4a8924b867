/** What a user's programs look like: written into the folder where the package is installed, and run there. */

/** Forwards through memory ports: null -> ring -> null, then says what it saw. */
export const FORWARD = `
import { open } from 'pollmode';
const host = open(['null:', 'ring:a']);
const [source, loop] = host.ports;
const burst = host.burst(32);
let forwarded = 0;
while (forwarded < 3200) {
  const received = source.rx[0].rxBurst(burst);
  if (loop.tx[0].txBurst(burst, received) !== 32) throw new Error('the ring took less than a burst');
  forwarded += source.tx[0].txBurst(burst, loop.rx[0].rxBurst(burst));
}
const { free } = host.pool.audit();
const whole = free === host.pool.size;
host.close();
console.log(JSON.stringify({ node: process.versions.node, forwarded, whole }));
`;

/** Loads the addon and has it make a system call; says which file it was. */
export const ADDON = `
import { binding } from './node_modules/pollmode/dist/lib/binding.js';
const file = () => process.report.getReport().sharedObjects.find(path => /pollmode[^/]*\\.node$/.test(path));
try {
  console.log(JSON.stringify({ thread: binding().gettid(), pid: process.pid, file: file() }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
`;

/** Sends over AF_XDP from one end of a veth pair to the other: the addon's system calls, on real frames. */
export const AF_XDP = `
import { open } from 'pollmode';
import { openLab } from './node_modules/pollmode/dist/lib/lab/veth.js';
const lab = openLab();
const device = end => 'af_xdp:' + end.name + ',netns=/proc/self/fd/' + end.netns;
const host = open(['null:', device(lab.a), device(lab.b)]);
const [source, from, to] = host.ports;
const burst = host.burst(32);
let sent = 0, received = 0;
const end = Date.now() + 60_000;
while (received < 320 && Date.now() < end) {
  if (sent < 320) {
    const made = source.rx[0].rxBurst(burst);
    const taken = from.tx[0].txBurst(burst, made);
    sent += taken;
    source.tx[0].txBurst(burst, burst.keep(taken, made));
  } else from.tx[0].txBurst(burst, 0);
  const got = to.rx[0].rxBurst(burst);
  received += source.tx[0].txBurst(burst, got);
}
host.close();
lab.close();
console.log(JSON.stringify({ sent, received }));
`;

/** Ten lines in TypeScript, in which every call's type matters. */
export const TYPED = `
import { open, poll, PollmodeError, type Port } from 'pollmode';
const host = open(['null:', { driver: 'ring', device: 'a' }], { mbufs: 4096 });
const [from, to] = host.ports as [Port, Port];
const burst = host.burst(32);
await poll(() => {
  const received: number = from.rx[0]!.rxBurst(burst);
  const sent: number = to.tx[0]!.txBurst(burst, received);
  return sent === received;
}, { seconds: 1 });
export const code: string = new PollmodeError('ECLOSED', 'closed').code;
// @ts-expect-error: a count of packets is no text, so the types are there and are not \`any\`
export const text: string = from.rx[0]!.rxBurst(burst);
`;
