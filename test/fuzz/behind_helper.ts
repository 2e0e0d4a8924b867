/** What the bytes behind a frame's end have to do with what is found in it: nothing. */
import { FlowKeys } from '../../examples/parts/flow_keys.js';
import { FieldReader } from '../../lib/flow/fields.js';
import { FIELDS } from '../../lib/flow/layout.js';
import { Adjacencies, ETHERTYPE_IPV4, Ethernet, Forwarder, Ipv4, Lpm, open, Responder, Rss, translateDestination, translateSource, type IcmpError, type Mbufs } from '../../lib/index.js';
import { ipLength, ipOffset, markCongestion } from '../../lib/qdisc/ip.js';

/** Bytes behind a frame that are looked after. */
const BEHIND = 64;
const ERRORS: readonly IcmpError[] = ['time exceeded', 'no route', 'too big'];
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 10);
const OURS = [Uint8Array.of(10, 0, 0, 1), Uint8Array.of(0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)] as const;

/** What is found in a packet, as text. */
type Read = (handle: number) => string;

export function behind(): { readonly mbufs: Mbufs; same(bytes: Uint8Array, read: Read): void; readonly flow: Read; readonly rss: Read; readonly router: Read; readonly answers: readonly Read[]; readonly keys: Read } {
  const host = open(['null:'], { bufferSize: 4096, mbufs: 128 });
  const { arena, pool, mbufs } = host;
  const burst = host.burst(1);

  /** Of a fresh packet with these bytes, and `filling` in all that is behind them. */
  const said = (bytes: Uint8Array, filling: number, read: Read): string => {
    pool.alloc(burst, 1);
    const handle = burst.handles[0]!;
    mbufs.copyIn(handle, bytes);
    const end = mbufs.data(handle) + bytes.length;
    mbufs.u8.fill(filling, end, end + BEHIND);
    const found = read(handle);
    const frame = Buffer.from(mbufs.copyOut(handle)).toString('hex');
    // A packet that has grown has written there as it may.
    const isLeft = mbufs.data(handle) + mbufs.dataLen(handle) > end || mbufs.u8.subarray(end, end + BEHIND).every(byte => byte === filling);
    pool.free(burst, 0, 1);
    return `${found} ${frame} ${isLeft ? '' : 'written to'}`;
  };

  const fields = arena.reserve('fuzz/fields', FIELDS * 4, {});
  const reader = new FieldReader(arena.u8, arena.u32, fields.offset >>> 2);
  const rss = Rss.create(arena, 'fuzz/rss', { types: 255 });
  const routes = Lpm.create(arena, 'fuzz/routes', { family: 4, routes: 8 });
  routes.add('0.0.0.0', 0, 1);
  const adjacencies = Adjacencies.create(arena, 'fuzz/hops', 2);
  adjacencies.set(1, { destination: MAC, source: MAC, value: 7 });
  const forwarder = new Forwarder(arena, routes, adjacencies, { checksum: true });
  const responder = new Responder(pool);
  const keys = new FlowKeys(host, 1);
  const [ether, ip] = [new Ethernet(mbufs), new Ipv4(mbufs)];

  return {
    mbufs,
    same(bytes, read) {
      const [zeros, ones] = [said(bytes, 0, read), said(bytes, 0xff, read)];
      if (zeros !== ones || zeros.endsWith('written to')) throw new Error(`what stands behind the frame:\n${zeros}\n${ones}`);
    },
    flow: handle => {
      const isRead = reader.read(mbufs.data(handle), mbufs.dataLen(handle));
      const found = isRead ? arena.u32.subarray(fields.offset >>> 2, (fields.offset >>> 2) + FIELDS).join() : 'none';
      return [found, ipOffset(mbufs, handle), ipLength(mbufs, handle), markCongestion(mbufs, handle)].join(' ');
    },
    rss: () => `${rss.hashBurst(burst, 1)} ${mbufs.hash(burst.handles[0]!)}`,
    router: () => `${forwarder.forward(burst, 1)} ${forwarder.values[0]}`,
    answers: [
      handle => String(responder.echo(handle)), handle => String(responder.advertise(handle, MAC)),
      ...ERRORS.flatMap(why => OURS.map(source => (handle: number) => String(responder.error(handle, why, source, 1280)))),
    ],
    keys: handle => {
      keys.read(burst, 1);
      const found = [keys.isError[0], Buffer.from(keys.copy(0)).toString('hex')].join(' ');
      if (ether.at(handle) && ether.type === ETHERTYPE_IPV4 && ip.at(handle, ether.end, ether.limit)) {
        translateSource(ip, 0xc000020a, 10_000);
        translateDestination(ip, 0x0a000005, 80);
      }
      return found;
    },
  };
}
