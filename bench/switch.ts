/**
 * The switch's curves: `node dist/bench/switch.js [--seconds 0.3] [--cpu N] [--json]`. Time-stamp counter cycles per packet of
 * `poll()` alone, medians of slices: ring ports, so that it is the switch that is measured and no device; what a ring's
 * receive and send cost (some 10 cycles) is in it. Then loss under overload.
 */
import { median } from '../lib/sweep/statistics.js';
import { Chains } from '../lib/mbuf/chains.js';
import { open, type Host } from '../lib/port/host.js';
import type { Port } from '../lib/port/port.js';
import type { PortConfig } from '../lib/switch/config.js';
import { Switch } from '../lib/switch/switch.js';
import { benchOptions } from './options.js';
import { cyclesPerSecond, pin } from './ours/common.js';

const values = benchOptions({
  what: 'Cycles per packet in the switch, by addresses, ports and bytes of a frame, over ring ports; then loss as more is offered than it can.',
  against: 'nobody; `npm run bench:peers -- --only switch` races it with Open vSwitch on DPDK',
  options: {
    seconds: { value: 'S', default: '0.3', help: 'of each point' }, cpu: { value: 'N', default: '-1', help: 'the CPU to be on; -1: any' }, json: { help: 'the figures as JSON' },
  },
});
const seconds = Number(values.seconds);
pin(Number(values.cpu));
const perMillisecond = cyclesPerSecond() / 1000;
const BURST = 32;
/** Packets of a slice, for each port. */
const SLICE = 128;
let made = 0;

interface Bench { readonly host: Host; readonly sw: Switch; readonly stations: readonly Port[] }

interface Shape { readonly ports: number; readonly macs: number; readonly bufferSize?: 2048 | 4096; readonly mbufs?: number }

function makeBench({ ports, macs, bufferSize = 2048, mbufs = 8192 + ports * 512 }: Shape): Bench {
  const prefix = `bench${made++}`;
  const host = open([], { mbufs, bufferSize });
  const config: Record<string, PortConfig> = {};
  const stations: Port[] = [];
  for (let port = 0; port < ports; port++) {
    stations.push(host.add(`ring:${prefix}.${port}.out,tx=${prefix}.${port}.in,size=1024,single=1`));
    config[`p${port}`] = { device: `ring:${prefix}.${port}.in,tx=${prefix}.${port}.out,size=1024,single=1` };
  }
  const sw = new Switch(host, { flows: Math.max(1024, 2 * macs), bridges: { br: { macs: Math.max(64, 2 * macs), ports: config } } }, {});
  return { host, sw, stations };
}

/** Flow i goes from its station at one port to its station at the next. */
function writeAddresses({ host: { mbufs } }: Bench, handle: number, flow: number, back: boolean): void {
  const start = mbufs.data(handle);
  mbufs.view.setUint16(start, 0x0200);
  mbufs.view.setUint32(start + 2, back ? flow : flow + 0x01000000);
  mbufs.view.setUint16(start + 6, 0x0200);
  mbufs.view.setUint32(start + 8, back ? flow + 0x01000000 : flow);
  mbufs.view.setUint16(start + 12, 0x88b5);
}

class Traffic {
  readonly #bench: Bench;
  readonly #flows: number;
  readonly #burst;
  readonly #length: number;
  readonly #chains: Chains;
  /** Next flow of each port, by steps that visit them all: in order they would come out of one cache line after the other. */
  readonly #next: number[];

  constructor(bench: Bench, flows: number, length: number) {
    this.#bench = bench;
    this.#flows = flows;
    this.#length = length;
    this.#burst = bench.host.burst(BURST);
    this.#chains = new Chains(bench.host.pool);
    this.#next = bench.stations.map((_, port) => port % flows);
  }

  /** Every station at both ends says something once. */
  teach(): void {
    const { stations, sw } = this.#bench;
    for (let flow = 0; flow < this.#flows; flow++) {
      const port = flow % stations.length;
      this.#send((port + 1) % stations.length, flow, true);
      this.#send(port, flow, false);
      if (flow % 64 === 63) this.drain();
    }
    this.drain();
    for (let flow = 0; flow < this.#flows; flow++) {
      this.#send(flow % stations.length, flow, false);
      if (flow % 64 === 63) this.drain();
    }
    this.drain();
    if (sw.fdb().length < Math.min(this.#flows * 2, 10)) throw new Error('nothing was learned');
  }

  /** Puts up to so many packets into each port's ring. Returns how many were offered and how many of these the ring took. */
  offer(each: number): { offered: number; taken: number } {
    let taken = 0;
    const { stations } = this.#bench;
    for (let port = 0; port < stations.length; port++) for (let i = 0; i < each; i++) {
      const flow = this.#next[port]!;
      // A port's flows are those that are congruent to it; a large step that has no factor with their number.
      const step = stations.length * 7919;
      this.#next[port] = (flow + step) % (Math.max(1, Math.floor(this.#flows / stations.length)) * stations.length);
      taken += this.#send(port, flow, false);
    }
    return { offered: each * stations.length, taken };
  }

  /** What the switch sent; counts and frees it. */
  receive(): number {
    let packets = 0;
    for (const { rx: [rx] } of this.#bench.stations) for (let got = rx!.rxBurst(this.#burst); got > 0; got = rx!.rxBurst(this.#burst)) {
      this.#bench.host.pool.free(this.#burst, 0, got);
      packets += got;
    }
    return packets;
  }

  drain(): void {
    while (this.#bench.sw.poll() > 0) this.receive();
    this.receive();
  }

  #send(port: number, flow: number, back: boolean): number {
    const { host, stations } = this.#bench;
    if (host.pool.alloc(this.#burst, 1) === 0) return 0;
    const handle = this.#burst.handles[0]!;
    const first = Math.min(this.#length, host.pool.room);
    host.mbufs.append(handle, first);
    writeAddresses(this.#bench, handle, flow, back);
    if (this.#length > first) this.#chains.append(handle, host.mbufs.data(handle), this.#length - first);
    this.#burst.handles[0] = handle;
    const taken = stations[port]!.tx[0]!.txBurst(this.#burst, 1);
    if (taken === 0) host.pool.free(this.#burst, 0, 1);
    return taken;
  }
}

/** Cycles per packet of poll(), all of whose flows are known. */
function cyclesOf(shape: Shape, flows: number, length = 60): number {
  const bench = makeBench(shape);
  const traffic = new Traffic(bench, flows, length);
  traffic.teach();
  const slices: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until;) {
    traffic.offer(Math.max(BURST, Math.ceil(SLICE * 2 / shape.ports)));
    const begun = performance.now();
    let packets = 0;
    for (let got = bench.sw.poll(); got > 0; got = bench.sw.poll()) packets += got;
    slices.push((performance.now() - begun) * perMillisecond / packets);
    traffic.receive();
  }
  const { packets, slow } = bench.sw.show();
  if (slow > packets / 2 && flows > 1 && slices.length > 100) throw new Error('the cache did not carry the traffic');
  bench.sw.close();
  bench.host.close();
  return median(slices.slice(slices.length >> 3));
}

interface Loss { readonly offered: number; readonly delivered: number; readonly atIngress: number; readonly inside: number }

/** Packets offered in time, by the clock, whatever the switch does; in between it polls. Of what is offered, what came out, was refused by the ring in front, or dropped behind it. */
function lossAt(mpps: number): Loss {
  const bench = makeBench({ ports: 2, macs: 64 });
  const traffic = new Traffic(bench, 64, 60);
  traffic.teach();
  let [offered, taken, delivered] = [0, 0, 0];
  const begun = performance.now();
  for (let now = begun; now - begun < seconds * 1000; now = performance.now()) {
    const due = Math.floor((now - begun) * mpps * 1000);
    // Whoever sends does not wait: what is due beyond a ring's length is lost there at once.
    for (; offered < due;) {
      const { offered: more, taken: some } = traffic.offer(Math.min(BURST, Math.ceil((due - offered) / 2)));
      offered += more;
      taken += some;
      if (offered % 4096 < 64) break;
    }
    bench.sw.poll();
    delivered += traffic.receive();
  }
  while (bench.sw.poll() > 0) delivered += traffic.receive();
  delivered += traffic.receive();
  const inside = bench.sw.ports().reduce((sum, { drops }) => sum + Object.values(drops).reduce((all, each) => all + each, 0), 0);
  bench.sw.close();
  bench.host.close();
  return { offered, delivered, atIngress: offered - taken, inside };
}

const macs = [10, 100, 1000, 10_000, 100_000].map(count => ({ macs: count, cycles: cyclesOf({ ports: 2, macs: count, mbufs: 8192 }, count) }));
const ports = [2, 4, 8, 16, 32, 64].map(count => ({ ports: count, cycles: cyclesOf({ ports: count, macs: 1024 }, 1024) }));
const sizes = [64, 128, 512, 1518, 4000, 9000].map(bytes => ({ bytes, cycles: cyclesOf({ ports: 2, macs: 64, bufferSize: 4096 }, 64, bytes - 4) }));
const loss = [0.25, 0.5, 1, 2, 4, 8].map(mpps => ({ mpps, ...lossAt(mpps) }));
if (values.json) process.stdout.write(`${JSON.stringify({ macs, ports, sizes, loss }, null, 2)}\n`);
else {
  const line = (name: string, value: number, cycles: number): string => `${name} ${String(value).padStart(7)}  ${cycles.toFixed(1).padStart(7)} cycles a packet`;
  process.stdout.write([
    ...macs.map(({ macs: count, cycles }) => line('addresses at each side', count, cycles)),
    ...ports.map(({ ports: count, cycles }) => line('ports', count, cycles)),
    ...sizes.map(({ bytes, cycles }) => line('bytes of a frame', bytes, cycles)),
    ...loss.map(({ mpps, offered, delivered, atIngress, inside }) => `offered ${mpps} Mpps (${offered} packets, by the same thread): ${(100 * delivered / offered).toFixed(2)}% came out, ${atIngress} refused in front, ${inside} dropped inside`),
    '',
  ].join('\n'));
}
