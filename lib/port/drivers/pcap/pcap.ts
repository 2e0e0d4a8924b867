import { PollmodeError } from '../../../errors.js';
import { HEADROOM } from '../../../mbuf/layout.js';
import { MAX_SNAPLEN } from '../../../wire/pcap_layout.js';
import type { PortDriver, PortHost } from '../../port.js';
import { NoPace, RatePace, RecordedPace, type Pace } from './pace.js';
import { PcapPort } from './port.js';

export interface PcapOptions {
  /** Path of the capture to receive from, pcap or pcapng; without it the port has no rx queue. */
  readonly device?: string;
  /** Path of the capture to send to; what is there is overwritten, as by tcpdump -w. Without it the port has no tx queue. */
  readonly tx?: string;
  /** Times to play the file; 0 for ever. Default 1. */
  readonly loop?: number;
  /** Frames a second. Default: as fast as they are asked for. */
  readonly rate?: number;
  /** Plays the file with its own gaps between frames. */
  readonly pace?: boolean;
  /** Largest frame to receive, in bytes without FCS; larger ones are dropped and counted. Default 1792. Frames that no buffer holds (from 3841 on: jumbo frames) come as chains of mbufs. */
  readonly maxFrame?: number;
  /** Format of the file that is written. Default: pcapng where its name ends so, else pcap. */
  readonly format?: 'pcap' | 'pcapng';
  /** Unit of its times. Default ns. */
  readonly resolution?: 'us' | 'ns';
  /** Bytes of each frame that are written. Default: all. */
  readonly snaplen?: number;
}

const DEFAULT_FRAME = 2048 - HEADROOM;
/** The largest IP packet in the largest Ethernet header with two tags. */
const LONGEST_FRAME = 65535 + 14 + 8;
const LARGEST_BUFFER = 4096;

/**
 * `pcap:in.pcapng,tx=out.pcap`: capture files as a port, like DPDK's net_pcap. What is received is a file's frames, with
 * the times that they have there in the mbufs; what is sent is written, with its mbuf's time (RX_TIMESTAMP), or else
 * with the current one. So forwarding from file to file keeps the times.
 *
 * The port is `finished` when the file was played to its end. A frame that the capture holds only in part is received
 * in part, and written as a whole frame of that length; the number of a pcapng's interface is not kept, and the written
 * one has a single interface. Reading and writing are system calls on files, 512 KiB at a time: they wait for the disk.
 */
export const pcapDriver: PortDriver<PcapOptions> = {
  name: 'pcap',
  summary: 'capture files (pcap, pcapng): frames from one, frames to one',
  options: {
    device: { type: 'text', help: 'path of the capture to receive from' },
    tx: { type: 'text', help: 'path of the capture to send to; overwritten' },
    loop: { type: 'count', help: 'times to play the file, 0 for ever (default 1)', max: 1e9 },
    rate: { type: 'count', help: 'frames a second (default: as fast as they are taken)', min: 1, max: 1e9 },
    pace: { type: 'flag', help: 'play with the recorded gaps between frames' },
    maxFrame: { type: 'size', help: `largest frame to receive, without FCS (default ${DEFAULT_FRAME})`, min: 60, max: LONGEST_FRAME },
    format: { type: 'choice', help: 'of the written file (default: by its name, else pcap)', choices: ['pcap', 'pcapng'] },
    resolution: { type: 'choice', help: 'of the written times (default ns)', choices: ['us', 'ns'] },
    snaplen: { type: 'size', help: 'bytes of each frame to write (default: all)', min: 1, max: MAX_SNAPLEN },
  },
  probe: () => ({ usable: true }),
  plan(options) {
    checkTogether(options);
    const whole = (options.maxFrame ?? DEFAULT_FRAME) + HEADROOM;
    return { mbufs: 0, bufferSize: whole > LARGEST_BUFFER ? DEFAULT_FRAME + HEADROOM : whole, registered: false };
  },
  open(options, host) {
    return openPort(options, host);
  },
};

function openPort(options: PcapOptions, host: PortHost): PcapPort {
  const { device, tx, loop = 1, resolution = 'ns', snaplen = MAX_SNAPLEN } = options;
  const read = device === undefined ? undefined : {
    path: device, passes: loop === 0 ? Infinity : loop, pace: paceOf(options), longest: Math.max(options.maxFrame ?? 0, host.pool.room),
  };
  const write = tx === undefined ? undefined : {
    path: tx, format: options.format ?? (/\.pcapng$/i.test(tx) ? 'pcapng' as const : 'pcap' as const), nanoseconds: resolution === 'ns', snapLength: snaplen,
  };
  return new PcapPort(host, read, write);
}

function paceOf({ rate, pace }: PcapOptions): Pace {
  if (rate !== undefined) return new RatePace(rate);
  return pace === true ? new RecordedPace() : new NoPace();
}

/** Throws EOPTION for options that say nothing or contradict each other. */
function checkTogether(options: PcapOptions): void {
  const refuse = (why: string): never => { throw new PollmodeError('EOPTION', `pcap: ${why}.`); };
  if (options.device === undefined && options.tx === undefined) refuse('no file: write pcap:in.pcap to receive, pcap:,tx=out.pcap to send, or both');
  if (options.rate !== undefined && options.pace === true) refuse('rate is a speed and pace=1 the recorded one: choose one of them');
  const only = (file: 'device' | 'tx', names: readonly (keyof PcapOptions)[], mend: string): void => {
    const stray = options[file] === undefined ? names.find(name => options[name] !== undefined) : undefined;
    if (stray !== undefined) refuse(`${stray} without a file that it is for: ${mend}`);
  };
  only('device', ['loop', 'rate', 'pace', 'maxFrame'], 'name one to receive from, as in pcap:in.pcap');
  only('tx', ['format', 'resolution', 'snaplen'], 'name one to send to, as in tx=out.pcap');
}
