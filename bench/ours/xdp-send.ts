/**
 * The fastest sender that the kernel has: it makes the frames itself and moves them from one end of the pair to the other
 * in batches, with no socket and no sk_buff. Sends until it is killed, all that it can.
 */
import { loadProgram, runOnLiveFrames } from '../../lib/kernel/bpf.js';
import { BPF_PROG_TYPE_XDP, XDP_TX } from '../../lib/kernel/constants.js';
import { assemble, exit, mov, R0 } from '../../lib/kernel/instructions.js';
import { readLink } from '../../lib/kernel/link.js';
import { buildFrame, FCS } from '../../lib/sweep/frame.js';
import { pin, settings } from './common.js';

/** Some seconds' worth: at the start of each call the kernel waits for an RCU grace period, some ten milliseconds. A signal ends the call. */
const FRAMES_PER_CALL = 1 << 24;

const { cpu, ends, size, interface: name } = settings();
pin(cpu);
const program = loadProgram({ type: BPF_PROG_TYPE_XDP, instructions: assemble([mov(R0, XDP_TX), exit()]), name: 'sender' });
const { ifindex } = readLink(name);
const frame = buildFrame(ends, size + FCS);
process.stdout.write('measuring\n');
for (;;) runOnLiveFrames(program, frame, ifindex, FRAMES_PER_CALL);
