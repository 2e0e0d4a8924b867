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
  await step('iperf3 over TCP', () => lab.iperf(2));
  for (const name of ['a', 'b'] as const) {
    await step(`machine ${name} is killed and started again`, async () => {
      await lab.restartVm(name);
      return lab.ping(56, 10);
    });
  }
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
