import { burstFunctions } from '../../../burst/module.js';
import type { PortDriver } from '../../port.js';
import { probeAddon } from '../../probe.js';
import { ofThisProcess } from '../../virtqueue_attach.js';
import { MOST_LOG2_RING } from './layout.js';
import { settings, type MemifOptions } from './options.js';
import { repairMemif } from './outstanding.js';
import { MemifPort } from './port.js';
import { MemifRxQueue, MemifTxQueue } from './queues.js';

const MIB = 1 << 20;

/**
 * `memif:/run/memif.sock`: packets to and from another program by memory that they share: DPDK's net_memif, VPP, or another
 * of ours. The client shares its memory, and with zero copy its pool, so that the server reads and writes its mbufs; the
 * server copies. Either end waits for the other to come back.
 */
export const memifDriver: PortDriver<MemifOptions> = {
  name: 'memif',
  summary: 'shared memory with another program: DPDK\'s net_memif, VPP, or ours',
  options: {
    device: { type: 'text', help: 'path of the Unix socket', required: true },
    role: { type: 'choice', help: 'server listens, client connects and shares its memory (default client)', choices: ['client', 'server'] },
    abstract: { type: 'flag', help: 'the path is a name in the abstract namespace (default off)' },
    id: { type: 'count', help: 'which interface of the socket (default 0)', max: 0xffffffff },
    secret: { type: 'text', help: 'what a server\'s client must know, at most 24 bytes' },
    queues: { type: 'count', help: 'queues in each direction (default 1)', min: 1, max: 64 },
    rsize: { type: 'count', help: 'client: descriptors of a ring, as a power of two (default 10)', max: MOST_LOG2_RING },
    zeroCopy: { type: 'flag', help: 'client: the server reads and writes the pool itself (default on)' },
    bsize: { type: 'count', help: 'client without zero_copy: bytes of a buffer (default 2048)', min: 64, max: 65_536 },
    clientMemory: { type: 'count', help: 'server: room for the client\'s memory in MiB (default 1024)', min: 1, max: 4000 },
    mtu: { type: 'count', help: 'bytes of IP packet (default 1500)', min: 68, max: 65_500 },
    mac: { type: 'text', help: 'what the port says its address is' },
  },
  probe: probeAddon,
  plan(options) {
    const { role, zeroCopy, queues, rsize, bsize, clientMemory } = settings(options);
    if (role === 'server') return { mbufs: 0, bufferSize: 2048, registered: false, overlays: clientMemory * MIB };
    const descriptors = 2 * queues * 2 ** rsize;
    return zeroCopy ? { mbufs: descriptors, bufferSize: 2048, registered: true, ownFile: true } : { mbufs: 0, bufferSize: 2048, registered: false, overlays: descriptors * bsize };
  },
  open: (options, host) => new MemifPort(settings(options), host),
  attach: {
    rx: state => new MemifRxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    tx: state => new MemifTxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    repair: repairMemif,
  },
};
