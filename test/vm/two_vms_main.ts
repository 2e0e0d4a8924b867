/**
 * `node dist/test/vm/two_vms_main.js`: two virtual machines, Debian's kernel with its own virtio-net driver, on two
 * vhost: ports of `pollmode switch`. They ping each other, run iperf3 over TCP with offloads on, off and done by the
 * switch, and pass jumbo frames; each machine is killed and started again, and the switch; everything carries on. Prints
 * a line for each step and ends with 0 when all were right.
 */
import { buildImage } from './image.js';
import { NAMES, SwitchProcess, TwoVms, type Counts, type Name } from './two_vms.js';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
const started = performance.now();
const say = (line: string): void => { process.stderr.write(`two_vms: ${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s ${line}\n`); };
const NO_OFFLOADS = ',csum=off,guest_csum=off,host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off';
let [passed, failed] = [0, 0];

const image = buildImage(say);
const vms = new TwoVms(image);
const bridge = new SwitchProcess();
try {
  await step('pollmode switch, and two machines', async () => {
    await bridge.start({ options: ',pass_offloads', say });
    await Promise.all(NAMES.map(name => vms.start(name, bridge.card(name))));
    return `Linux ${image.version}, virtio-net`;
  });
  await step('ping, 56 bytes', () => vms.ping(56, 20));
  await step('ping, 1472 bytes', () => vms.ping(1472, 10));
  await step('iperf3 over TCP, offloads passed on', async () => {
    const { said, sent, received } = await watched(() => vms.iperf(2));
    if (!(sent > 4000 && received > 4000)) throw new Error(`${said}, but packets of ${sent} bytes were sent, and of ${received} received`);
    return `${said}; packets of ${sent} bytes sent, of ${received} received`;
  });
  await step('iperf3 over TCP, the senders\' offloads off', async () => {
    await vms.each('ethtool -K eth0 tx off tso off gso off');
    const { said, sent } = await watched(() => vms.iperf(2));
    await vms.each('ethtool -K eth0 tx on tso on gso on');
    if (!(sent <= 1514)) throw new Error(`${said}, but packets of ${sent} bytes were sent`);
    return `${said}; packets of ${sent} bytes sent`;
  });
  await step('jumbo frames of 9000 bytes', async () => {
    await vms.each('ip link set eth0 mtu 9000');
    return `${await vms.ping(8972, 10)}; ${await vms.iperf(1)}`;
  });
  await step('machine a is killed and started again', async () => {
    await restart('a');
    return vms.ping(56, 10);
  });
  await step('machine b is killed and started again, without offloads: the switch does them', async () => {
    await restart('b', NO_OFFLOADS);
    const pings = await vms.ping(56, 10);
    const { said, sent, received } = await watched(() => vms.iperf(2));
    if (!(sent > 4000 && received <= 1514)) throw new Error(`${said}, but packets of ${sent} bytes were sent, and of ${received} received`);
    return `${pings}; ${said}; packets of ${sent} bytes sent, of ${received} received`;
  });
  await step('the switch is killed and started again; what it receives it finishes now', async () => {
    await bridge.end('SIGKILL');
    await bridge.start({ say });
    for (const name of NAMES) await vms.carrier(name);
    const pings = await vms.ping(56, 10);
    const { said, sent, received } = await watched(() => vms.iperf(1));
    if (!(sent > 4000 && received <= 1514)) throw new Error(`${said}, but packets of ${sent} bytes were sent, and of ${received} received`);
    return `${pings}; ${said}`;
  });
} finally {
  await vms.close();
  await bridge.close();
}
process.stdout.write(`1 files, ${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 ? 0 : 1);

async function step(name: string, work: () => Promise<string>): Promise<void> {
  try {
    const said = await work();
    passed++;
    process.stdout.write(`ok - ${name}: ${said}\n`);
  } catch (cause) {
    failed++;
    process.stdout.write(`not ok - ${name}: ${(cause as Error).message}\n`);
  }
}

async function restart(name: Name, more = ''): Promise<void> {
  await vms.kill(name);
  await vms.start(name, bridge.card(name, more));
}

/** What a's kernel sends and b's receives meanwhile, in bytes a packet. */
async function watched(work: () => Promise<string>): Promise<{ said: string; sent: number; received: number }> {
  const before = await both();
  const said = await work();
  const after = await both();
  return {
    said, sent: Math.round((after.a.txBytes - before.a.txBytes) / (after.a.txPackets - before.a.txPackets)),
    received: Math.round((after.b.rxBytes - before.b.rxBytes) / (after.b.rxPackets - before.b.rxPackets)),
  };
}

async function both(): Promise<Record<Name, Counts>> {
  return { a: await vms.counts('a'), b: await vms.counts('b') };
}
