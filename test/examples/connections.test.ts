/** How long a firewall knows a connection, by what was seen of it. */
import t from 'tap';
import { Connections, IN, KEY_BYTES, OUT } from '../../examples/parts/connections.js';
import { HashTable, open, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../lib/index.js';

const host = open(['null:']);
t.teardown(() => host.close());
// Whole seconds: their sums are exact, one by one and at once.
let [made, now] = [0, Math.ceil(performance.now() / 1000)];

/** One connection, and what it takes to forget it: seconds without a packet. */
function connection(protocol: number): { seen: (way: number, flags: number) => void; lasts: () => number } {
  const list = new Connections(2, HashTable.create(host.arena, `table${made++}`, { entries: 4, keyBytes: KEY_BYTES }));
  const index = list.next;
  list.expire(now);
  list.begin(new Uint8Array(KEY_BYTES).fill(1), new Uint8Array(KEY_BYTES).fill(2), protocol);
  const seen = (way: number, flags: number): void => list.seen(index, way, flags);
  const lasts = (): number => {
    for (let waited = 1; ; waited++) {
      list.expire(++now);
      if (list.count === 0) return waited;
    }
  };
  return { seen, lasts };
}

t.test('each protocol has its time', t => {
  const opened = ({ seen }: ReturnType<typeof connection>): void => {
    seen(OUT, TCP_SYN);
    seen(IN, TCP_SYN | TCP_ACK);
    seen(OUT, TCP_ACK);
  };
  const lasts = (protocol: number, ...seen: readonly (readonly [number, number])[]): number => {
    const each = connection(protocol);
    if (protocol === PROTOCOL_TCP) opened(each);
    for (const [way, flags] of seen) each.seen(way, flags);
    return each.lasts();
  };
  t.equal(lasts(PROTOCOL_TCP), 7440);
  t.equal(lasts(PROTOCOL_UDP, [OUT, 0]), 120);
  t.equal(lasts(PROTOCOL_ICMP, [OUT, 0]), 60);
  t.equal(lasts(PROTOCOL_TCP, [OUT, TCP_FIN | TCP_ACK]), 7440, 'half closed');
  const over = [[OUT, TCP_FIN | TCP_ACK], [IN, TCP_FIN | TCP_ACK]] as const;
  const again = [[OUT, TCP_SYN], [IN, TCP_SYN | TCP_ACK], [OUT, TCP_ACK]] as const;
  t.equal(lasts(PROTOCOL_TCP, ...over), 10);
  t.equal(lasts(PROTOCOL_TCP, ...over, ...again), 7440, 'the same ports once more');
  t.equal(lasts(PROTOCOL_TCP, [IN, TCP_RST | TCP_ACK]), 10);
  t.equal(lasts(PROTOCOL_TCP, [IN, TCP_RST | TCP_ACK], ...again), 7440, 'refused, and tried again');
  t.equal(lasts(PROTOCOL_TCP, ...over, [IN, TCP_SYN | TCP_ACK]), 10, 'an answer begins nothing');
  const alone = connection(PROTOCOL_TCP);
  alone.seen(OUT, TCP_SYN);
  t.equal(alone.lasts(), 30);
  t.end();
});
