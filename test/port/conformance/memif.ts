/** Both ends of memif, each with the other of ours at its socket. */
import type { Subject } from './subject.js';
import { connectingPlace, MTU, waitingPlace } from './two_ends.js';

const server = (path: string): string => `memif:${path},role=server,client_memory=16,mtu=${MTU}`;
const client = (words: string) => (path: string): string => `memif:${path},rsize=7,mtu=${MTU}${words}`;

const COMMON = {
  driver: 'memif', carries: true, shortest: 14, longest: (room: number) => room, chains: 'carried', jumbo: false,
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' }, takesMbufs: true, losses: [], fills: true, pool: { file: 'own' },
} as const;

const LONG_PATH = `memif:/tmp/${'x'.repeat(120)}`;

/** Its client shares its pool, or (`words`) copies. */
export function memifServerSubject(words = ''): Subject {
  return {
    ...COMMON, place: () => waitingPlace({ tested: server, other: client(words) }),
    refused: [
      ['memif:,role=server', 'EDEVICE'], ['memif:/nonexistent/folder/s,role=server', 'ENOTFOUND'], [`${LONG_PATH},role=server`, 'EOPTION'], ['memif:/tmp,role=server', 'EEXISTS'],
      ['memif:/tmp/pollmode-never-made,role=server,rsize=7', 'EOPTION'], ['memif:/tmp/pollmode-never-made,role=server,zero_copy=0', 'EOPTION'],
      [`memif:/tmp/pollmode-never-made,role=server,secret=${'x'.repeat(25)}`, 'EOPTION'], ['memif:/tmp/pollmode-never-made,role=server,mac=1', 'EOPTION'],
    ],
  };
}

export function memifClientSubject(words = ''): Subject {
  return {
    ...COMMON, place: () => connectingPlace({ tested: client(words), other: server }),
    refused: [
      ['memif:', 'EDEVICE'], ['memif:/nonexistent/folder/s', 'ENOTFOUND'], [LONG_PATH, 'EOPTION'], [`${LONG_PATH},abstract=1`, 'EOPTION'],
      ['memif:/nonexistent/s,bsize=2048', 'EOPTION'], ['memif:/nonexistent/s,client_memory=1', 'EOPTION'], ['memif:/nonexistent/s,rsize=15', 'EDEVICE'],
    ],
  };
}
