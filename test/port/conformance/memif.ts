/** A memif socket in a folder, our two ends of it in one thread; the one that is not under test has an arena of its own. */
import { Arena } from '../../../lib/arena/arena.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import { open } from '../../../lib/port/host.js';
import type { Place, Rig, Setup, Subject } from './subject.js';
import { folder, MTU, OtherEnd } from './vhost_user.js';

/** The server is under test, and a client comes and goes with it. */
function serverPlace(words: string): Place {
  const { path, remove } = folder();
  const device = `memif:${path},role=server,client_memory=16,mtu=${MTU}`;
  const arena = Arena.create({ size: 32 << 20 });
  const pool = Mempool.create(arena, 'client', { count: 2048, file: 'own' });
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      const other = new OtherEnd(open([`memif:${path},rsize=7,mtu=${MTU}${words}`], { arena, pool }), false);
      other.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => other.send(frames), departed: () => other.received(),
        close() {
          host.close();
          other.close();
        },
      };
    },
    close() {
      arena.close();
      remove();
    },
  };
}

/** The client is under test; the server stays, and takes by itself what it is sent, or no mbuf would come back. */
function clientPlace(words: string): Place {
  const { path, remove } = folder();
  const device = `memif:${path},rsize=7,mtu=${MTU}${words}`;
  const other = new OtherEnd(open([`memif:${path},role=server,client_memory=16,mtu=${MTU}`], { mbufs: 2048, arenaOptions: { size: 64 << 20 } }), true);
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      other.forget();
      other.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => other.send(frames), departed: () => other.received(),
        close: () => host.close(),
      };
    },
    close() {
      other.close();
      remove();
    },
  };
}

const COMMON = {
  driver: 'memif', carries: true, shortest: 14, longest: (room: number) => room, chains: 'carried', jumbo: false,
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' }, takesMbufs: true, losses: [], fills: true, pool: { file: 'own' },
} as const;

const LONG_PATH = `memif:/tmp/${'x'.repeat(120)}`;

/** Its client shares its pool, or (`words`) copies. */
export function memifServerSubject(words = ''): Subject {
  return {
    ...COMMON, place: () => serverPlace(words),
    refused: [
      ['memif:,role=server', 'EDEVICE'], ['memif:/nonexistent/folder/s,role=server', 'ENOTFOUND'], [`${LONG_PATH},role=server`, 'EOPTION'], ['memif:/tmp,role=server', 'EEXISTS'],
      ['memif:/tmp/pollmode-never-made,role=server,rsize=7', 'EOPTION'], ['memif:/tmp/pollmode-never-made,role=server,zero_copy=0', 'EOPTION'],
      [`memif:/tmp/pollmode-never-made,role=server,secret=${'x'.repeat(25)}`, 'EOPTION'], ['memif:/tmp/pollmode-never-made,role=server,mac=1', 'EOPTION'],
    ],
  };
}

export function memifClientSubject(words = ''): Subject {
  return {
    ...COMMON, place: () => clientPlace(words),
    refused: [
      ['memif:', 'EDEVICE'], ['memif:/nonexistent/folder/s', 'ENOTFOUND'], [LONG_PATH, 'EOPTION'], [`${LONG_PATH},abstract=1`, 'EOPTION'],
      ['memif:/nonexistent/s,bsize=2048', 'EOPTION'], ['memif:/nonexistent/s,client_memory=1', 'EOPTION'], ['memif:/nonexistent/s,rsize=15', 'EDEVICE'],
    ],
  };
}
