/** The measurements on real frames, each in a lab of its own: what a program leaves attached goes with it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { missingCapabilities } from '../../lib/kernel/caps.js';
import type { Lab } from '../../lib/lab/veth.js';
import { addNeighbour } from '../../lib/kernel/link_addresses.js';
import { withNetns } from '../../lib/kernel/netns.js';
import type { Bench, Figures, Measurement } from './bench.js';
import { CProgram } from './c_program.js';
import { dpdkLacks, testpmd, type TestpmdOptions } from './dpdk.js';
import type { Machine } from './machine.js';
import { finishOurs, frameWords, ours, startOurs, whileSending, type Sender } from './ours.js';
import { packetRate } from './wire.js';

/**
 * Where frames go in the send rows: a MAC that is not the other end's, so that its stack drops each frame at once, the
 * same for every sender. It is what testpmd's txonly sends to.
 */
const NOBODY = { mac: '02:00:00:00:00:00', ip: '10.77.0.3' };
/** How long a program of ours runs before and after the seconds in which its interface is looked at. */
const MARGIN_SECONDS = 0.5;
/**
 * The sender of the receive and MAC swap rows: more than any receiver takes on the same machine. Its frames say that they
 * are from nobody, so those that are sent back are dropped at once like those of the send rows.
 */
const FLOOD: Sender = { program: 'xdp-send', from: NOBODY };
/** Packets per second to offer to dgram; 0 is all that the sender can. */
const DGRAM_RATES = [0, 600_000, 300_000];

/** In the order in which a round makes them. */
export function wireMeasurements(machine: Machine): readonly Measurement[] {
  const c = new CProgram(machine, 'xsk', { dpdk: false });
  return [
    { name: 'dgram-send', lacks: needsLab, run: bench => oursCounted(bench, 'dgram-send') },
    { name: 'testpmd af_xdp txonly', lacks: needsLabAndDpdk, run: testpmdSend },
    { name: 'af-xdp-send', lacks: needsLab, run: bench => oursCounted(bench, 'af-xdp-send') },
    { name: 'C af_xdp send', lacks: () => needsLab() ?? c.lacks(), run: bench => cSend(bench, c) },
    { name: 'dgram-receive', lacks: needsLab, run: dgramReceive },
    { name: 'testpmd af_xdp rxonly', lacks: needsLabAndDpdk, run: testpmdReceive },
    { name: 'af-xdp-receive', lacks: needsLab, run: bench => oursReceive(bench, 'af-xdp-receive', () => FLOOD) },
    { name: 'testpmd af_xdp macswap', lacks: needsLabAndDpdk, run: testpmdBounce },
    { name: 'af-xdp-macswap', lacks: needsLab, run: oursBounce },
  ];
}

/** A sender of ours, counted where its frames arrive. */
function oursCounted(bench: Bench, name: string): Promise<Figures> {
  return bench.machine.withLab(async lab => {
    withNetns(lab.a.netns, () => addNeighbour(lab.a.ifindex, NOBODY.ip, NOBODY.mac));
    return counted(bench, name, lab, frameWords(lab.a.name, lab.a, NOBODY), () => packetRate(lab.b, 'rx', bench.seconds));
  });
}

/** Runs a program of ours at the lab's near end and looks at a counter while it is in its measured part. */
async function counted({ machine, cpus, seconds }: Bench, name: string, lab: Lab, more: readonly string[], rate: () => Promise<number>): Promise<Figures> {
  const length = seconds + 2 * MARGIN_SECONDS;
  const program = startOurs(machine, name, cpus, { seconds: length, netns: lab.a.netns, more });
  await program.expect(/measuring/);
  await sleep(MARGIN_SECONDS * 1000);
  const value = await rate() / 1e6;
  const { userShare } = await finishOurs(program, length);
  return { value, ...(userShare === undefined ? {} : { userShare }) };
}

function cSend({ machine, cpus: { measured }, seconds }: Bench, c: CProgram): Promise<Figures> {
  return machine.withLab(async lab => {
    const program = c.start([lab.a.name, String(seconds + 2 * MARGIN_SECONDS), String(measured)], { netns: lab.a.netns });
    await program.expect(/measuring/);
    await sleep(MARGIN_SECONDS * 1000);
    const value = await packetRate(lab.b, 'rx', seconds) / 1e6;
    const output = await program.finish(seconds + 10);
    return { value, userShare: Number(output.trim().split('\n').at(-1)) };
  });
}

function testpmdSend(bench: Bench): Promise<Figures> {
  return bench.machine.withLab(async lab => {
    const { seen, userShare } = await afXdp(bench, lab, 'txonly', () => packetRate(lab.b, 'rx', bench.seconds));
    return { value: seen! / 1e6, userShare };
  });
}

function testpmdReceive(bench: Bench): Promise<Figures> {
  return bench.machine.withLab(lab => whileSending(bench, lab, FLOOD, async () => {
    const { rates, userShare } = await afXdp(bench, lab, 'rxonly');
    return { value: rates.rx[0]! / 1e6, userShare };
  }));
}

function testpmdBounce(bench: Bench): Promise<Figures> {
  return bench.machine.withLab(lab => whileSending(bench, lab, FLOOD, async () => {
    const { seen, userShare } = await afXdp(bench, lab, 'macswap', () => packetRate(lab.a, 'tx', bench.seconds));
    return { value: seen! / 1e6, userShare };
  }));
}

function oursBounce(bench: Bench): Promise<Figures> {
  return bench.machine.withLab(lab => whileSending(bench, lab, FLOOD,
    () => counted(bench, 'af-xdp-macswap', lab, frameWords(lab.a.name, lab.b, lab.a), () => packetRate(lab.a, 'tx', bench.seconds))));
}

function oursReceive(bench: Bench, name: string, sender: (lab: Lab) => Sender): Promise<Figures> {
  const { machine, cpus, seconds } = bench;
  return machine.withLab(lab => whileSending(bench, lab, sender(lab), async () => {
    const { packets, seconds: elapsed, userShare, idle } = await ours(machine, name, cpus, { seconds, netns: lab.a.netns, more: frameWords(lab.a.name, lab.b, lab.a) });
    return { value: packets / elapsed / 1e6, ...(userShare === undefined ? {} : { userShare }), ...(idle === undefined ? {} : { idle }) };
  }));
}

/** A flood costs a socket its time, and too little keeps it idle: what it does best at. */
async function dgramReceive(bench: Bench): Promise<Figures> {
  let best: Figures = { value: -1 };
  for (const rate of DGRAM_RATES) {
    const figures = await dgramReceiveAt(bench, rate);
    if (figures['value']! > best['value']!) best = figures;
  }
  return best;
}

/** A veth takes frames without an sk_buff only where an XDP program waits for them: to a socket they are sent by AF_XDP. */
function dgramReceiveAt(bench: Bench, rate: number): Promise<Figures> {
  return oursReceive(bench, 'dgram-receive', ({ b }) => ({ program: 'af-xdp-send', from: b, more: ['--rate', String(rate)] }));
}

function afXdp<T>({ machine, cpus, seconds }: Bench, lab: Lab, forward: TestpmdOptions['forward'], during?: () => Promise<T>): ReturnType<typeof testpmd<T>> {
  return testpmd(machine, cpus, seconds, { vdevs: [`net_af_xdp0,iface=${lab.a.name}`], forward, netns: lab.a.netns }, during);
}

function needsLab(): string | undefined {
  const missing = missingCapabilities(['CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW']);
  return missing.length === 0 ? undefined : `the lab needs ${missing.join(' and ')}: sudo npm run bench:peers`;
}

function needsLabAndDpdk({ machine }: Bench): string | undefined {
  return needsLab() ?? dpdkLacks(machine);
}
