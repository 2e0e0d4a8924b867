/**
 * The switch on one CPU, a bridge of two `vhost:` ports: --a and --b are the sockets' paths. Runs until it is killed; every
 * half second it prints the packets since the last time, the part of the time that went by in polls that found none, and packets of a poll
 * that found some: less than a burst means that it waits for the machines.
 */
import { parseArgs } from 'node:util';
import { poll } from '../../lib/lcore/poll.js';
import { open } from '../../lib/port/host.js';
import { Switch } from '../../lib/switch/switch.js';
import { pin, print } from './common.js';

const { values: { a, b, cpu } } = parseArgs({ options: {
  a: { type: 'string', default: '' }, b: { type: 'string', default: '' }, cpu: { type: 'string', default: '-1' }, 'other-cpu': { type: 'string' }, seconds: { type: 'string' },
} });
pin(Number(cpu));
const devices = [`vhost:${a}`, `vhost:${b}`];
const host = open(devices, { mbufs: 16_384 });
const sw = new Switch(host, { bridges: { br0: { ports: { a: { device: devices[0]! }, b: { device: devices[1]! } } } } });
/** Polls between two looks at the clock. */
const POLLS = 8;
let [packets, found, idle, begun, before] = [0, 0, 0, performance.now(), performance.now()];
process.stdout.write('waiting\n');
await poll(() => {
  let moved = 0;
  for (let i = 0; i < POLLS; i++) {
    const count = sw.poll();
    moved += count;
    if (count > 0) found++;
  }
  const now = performance.now();
  if (moved === 0) idle += now - before;
  packets += moved;
  before = now;
  if (now - begun < 500) return moved;
  print({ packets, seconds: (now - begun) / 1000, idle: idle / (now - begun), burst: packets / Math.max(1, found) });
  [packets, found, idle, begun] = [0, 0, 0, now];
  return moved;
});
