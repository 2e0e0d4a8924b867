/**
 * l2fwd: the smallest switch there is. What comes in on a port goes out by its partner, with new MAC addresses, as
 * DPDK's program of that name does: source the sending port's, destination 02:00:00:00:00:NN.
 *
 *   node dist/examples/l2fwd.js af_xdp:eth0 af_xdp:eth1       # as root; --help for more
 */
import { Command } from 'commander';
import { Ethernet, open, parseMac, PollmodeError, type Host, type Port } from '../lib/index.js';
import { Out } from './parts/out.js';
import { main, portLine, run, seconds, type RunOptions } from './parts/run.js';

interface Options extends RunOptions { readonly macUpdating: boolean }

/** One way: a port that receives, and its partner. */
class Lane {
  readonly #from: Port;
  readonly #out: Out;
  readonly #burst;
  readonly #ether: Ethernet;
  readonly #own: Uint8Array;
  readonly #peer: Uint8Array;
  readonly #update: boolean;

  constructor(host: Host, from: Port, to: Port, update: boolean) {
    this.#from = from;
    this.#out = new Out(host, to);
    this.#burst = host.burst(32);
    this.#ether = new Ethernet(host.mbufs);
    this.#own = to.mac === undefined ? Uint8Array.of(2, 0, 0, 0, 1, to.number) : parseMac(to.mac);
    this.#peer = Uint8Array.of(2, 0, 0, 0, 0, to.number);
    this.#update = update;
  }

  turn(): number {
    const got = this.#from.rx[0]!.rxBurst(this.#burst);
    for (let i = 0; i < got; i++) {
      const handle = this.#burst.handles[i]!;
      if (this.#update && this.#ether.at(handle)) {
        this.#ether.setDestination(this.#peer);
        this.#ether.setSource(this.#own);
      }
      this.#out.put(handle);
    }
    this.#out.flush();
    return got;
  }
}

async function l2fwd(devices: string[], options: Options): Promise<void> {
  if (devices.length % 2 !== 0) throw new PollmodeError('EOPTION', 'l2fwd wants its ports in pairs: name an even number of them.');
  const host = open(devices);
  const partner = (index: number): Port => host.ports[index ^ 1]!;
  const lanes = host.ports.flatMap((port, index) => port.rx.length > 0 && partner(index).tx.length > 0 ? [new Lane(host, port, partner(index), options.macUpdating)] : []);
  for (const port of host.ports) process.stdout.write(`${port.name}: ${port.capabilities.mode}, ${port.mac ?? 'no address of its own'}\n`);
  await run(host, () => lanes.reduce((sum, lane) => sum + lane.turn(), 0), () => portLine(host), options, () => undefined);
}

await main(new Command('l2fwd').description('Forwards between pairs of ports, with new MAC addresses.')
  .argument('<ports...>', 'device strings: what comes in on the first goes out by the second, and back')
  .option('--no-mac-updating', 'leave the frames as they are')
  .option('--seconds <s>', 'stop after so long', seconds)
  .option('--quiet', 'no line every second')
  .action(l2fwd));
