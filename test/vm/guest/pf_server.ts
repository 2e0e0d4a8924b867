/** A process that has an 82576's physical function open and serves its virtual ones. A line of JSON on its standard input changes one; it answers each with the states of all. */
import { createInterface } from 'node:readline';
import { open } from '../../../lib/port/host.js';

type Change = Parameters<NonNullable<ReturnType<typeof open>['ports'][0]['virtualFunctions']>['set']>[1];

const host = open([process.argv[2]!]);
const port = host.ports[0]!;
const functions = port.virtualFunctions!;
const say = (): void => {
  const states = Array.from({ length: functions.count }, (_, index) => functions.read(index));
  process.stdout.write(`${JSON.stringify({ states, rx: host.stats(port).rxPackets })}\n`);
};

const burst = host.burst(32);
setInterval(() => {
  for (let got = port.rx[0]!.rxBurst(burst); got > 0; got = port.rx[0]!.rxBurst(burst)) host.pool.free(burst, 0, got);
}, 5);
createInterface({ input: process.stdin }).on('line', line => {
  const { index, ...change } = JSON.parse(line) as { index: number } & Change;
  if (index >= 0) functions.set(index, change);
  say();
}).on('close', () => {
  host.close();
  process.exit(0);
});
say();
