/**
 * `node dist/test/vm/two_vms_main.js`: two virtual machines, Debian's kernel with its own virtio-net driver, on two
 * vhost: ports of one switch process. They ping each other, run iperf3 over TCP and pass jumbo frames; each machine is
 * killed and started again, and the switch; everything carries on. Prints a line for each step and ends with 0 when all
 * were right.
 */
import { buildImage } from './image.js';
import { Lab } from './two_vms.js';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
const started = performance.now();
const say = (line: string): void => { process.stderr.write(`two_vms: ${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s ${line}\n`); };
let [passed, failed] = [0, 0];

const lab = await Lab.start(buildImage(say), say);
try {
  await step('ping, 56 bytes', () => lab.ping(56, 20));
  await step('ping, 1472 bytes', () => lab.ping(1472, 10));
  await step('iperf3 over TCP, offloads passed on', async () => {
    const [before, said, after] = [await lab.stats(), await lab.iperf(2), await lab.stats()];
    const bytes = (after[0]!.rxBytes - before[0]!.rxBytes) / (after[0]!.rxPackets - before[0]!.rxPackets);
    if (!(bytes > 3000)) throw new Error(`${said}, but packets have ${bytes.toFixed(0)} bytes`);
    return `${said}, packets of ${bytes.toFixed(0)} bytes`;
  });
  await step('iperf3 over TCP, the senders\' offloads off', async () => {
    for (const name of ['a', 'b'] as const) await lab.must(name, 'ethtool -K eth0 tx off tso off gso off');
    const said = await lab.iperf(2);
    for (const name of ['a', 'b'] as const) await lab.must(name, 'ethtool -K eth0 tx on tso on gso on');
    return said;
  });
  await step('jumbo frames of 9000 bytes', async () => {
    for (const name of ['a', 'b'] as const) await lab.must(name, 'ip link set eth0 mtu 9000');
    return `${await lab.ping(8972, 10)}; ${await lab.iperf(1)}`;
  });
  await step('machine a is killed and started again', async () => {
    await lab.restartVm('a');
    return lab.ping(56, 10);
  });
  await step('machine b is killed and started again, without offloads: they are done in software', async () => {
    await lab.restartVm('b', ',csum=off,guest_csum=off,host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off');
    const said = `${await lab.ping(56, 10)}; ${await lab.iperf(2)}`;
    const { tx_finished, tx_pieces } = (await lab.stats())[1]!.xstats;
    if (!(tx_finished! > 0)) throw new Error(`${said}, but nothing was done in software`);
    return `${said}; ${tx_finished} packets became ${tx_pieces}`;
  });
  await step('the switch is killed and started again', async () => {
    await lab.restartSwitch();
    return `${await lab.ping(56, 10)}; ${await lab.iperf(1)}`;
  });
} finally {
  await lab.close();
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
