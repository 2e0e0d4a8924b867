/**
 * The 82576's filters of queues against a model of them (model/82576.ts): the real driver, on QEMU, meets a device that has
 * no 5-tuple filters and does not look at queues (test/vm/guest/flow_filters.test.ts).
 */
import t, { type Test } from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { Burst } from '../../../../lib/burst/burst.js';
import { NicOffload } from '../../../../lib/flow/nic.js';
import type { FlowRule } from '../../../../lib/flow/rule.js';
import { FlowTable } from '../../../../lib/flow/table.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { IgbChip } from '../../../../lib/port/drivers/vfio/igb/chip.js';
import { IntelPort } from '../../../../lib/port/drivers/vfio/intel/port.js';
import { Registers, type RegisterRow } from '../../../../lib/port/drivers/vfio/pci/registers.js';
import { frameOf } from '../../../rss/frames_helper.js';
import { sameFates, whereTo, type Filtering } from './filters_helper.js';
import { Model82576 } from './model/82576.js';
import { DEFAULTS, PlainNic } from './model_nic.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 2000 : 60;
const FTQF = 0x59e0, ETQF = 0x5cb0;

class ModelRegisters<Name extends string> extends Registers<Name> {
  readonly #model: Model82576;

  constructor(model: Model82576, arena: Arena, base: number, rows: readonly RegisterRow<Name>[]) {
    super(arena, base, rows);
    this.#model = model;
  }

  override write(name: Name, value: number, further = 0): void {
    this.#model.write(this.at(name, further) - this.base, value >>> 0);
  }

  override pause(): void {
    // nothing takes time
  }
}

class IgbNic extends PlainNic {
  readonly model: Model82576;

  constructor(arena: Arena, pool: Mempool) {
    super(arena, 'igb');
    this.model = new Model82576({ memory: arena.u8.buffer as SharedArrayBuffer, bar: this.bar.offset, translate: iova => this.translate(iova, pool) });
  }

  registers<Name extends string>(_index: number, _bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name> {
    return new ModelRegisters(this.model, this.arena, this.bar.offset, rows);
  }
}

interface Made extends Filtering { readonly port: IntelPort; readonly model: Model82576; readonly peek: (offset: number) => number }

/** At the end nothing was done that the datasheet forbids, and every mbuf is back. */
function on(name: string, queues: number, work: (t: Test, made: Made) => void): void {
  t.test(name, async t => {
    const arena = Arena.create({ size: 32 << 20 });
    const pool = Mempool.create(arena, 'pool', { count: 1024, hugePages: 'never' });
    const nic = new IgbNic(arena, pool);
    const port = new IntelPort({ ...DEFAULTS, queues, promiscuous: true }, { arena, pool, number: 0, device: 'vfio:model' }, nic, (name, nic) => new IgbChip(name, nic, queues));
    const burst = new Burst(arena, 32);
    t.teardown(() => { arena.close(); });
    port.rss?.set({ reta: new Array<number>(128).fill(0) });
    work(t, { port, pool, burst, model: nic.model, give: frame => void nic.model.receive(frame), peek: offset => nic.model.read(offset) });
    burst.close();
    port.close();
    t.same(nic.model.violations, []);
    t.equal(pool.audit().free, pool.size, 'every mbuf is back');
    pool.close();
  });
}

const ip = (source: string, destination: string, protocol: 'udp' | 'tcp' | 'sctp', sourcePort: number, destinationPort: number): Uint8Array => {
  const bytes = frameOf({ source, destination, protocol, sourcePort, destinationPort, tags: 0, extensions: [], fragment: false });
  return bytes.length < 60 ? Uint8Array.from([...bytes, ...new Array<number>(60 - bytes.length).fill(0)]) : bytes;
};
const typed = (type: number): Uint8Array => Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type >> 8, type & 255, ...new Array<number>(46).fill(0)]);

const RULES: readonly FlowRule[] = [
  { name: 'dns', match: { source: '10.0.0.1', destination: '10.0.0.2', protocol: 'udp', sourcePort: 0x102, destinationPort: 53 }, actions: [{ do: 'queue', queue: 2 }] },
  { name: 'from', match: { source: '192.0.2.7' }, actions: [{ do: 'drop' }] }, { name: 'ping', match: { source: '10.9.9.9', destination: '192.0.2.9', protocol: 'icmp' }, actions: [{ do: 'queue', queue: 3 }] },
  { name: 'lldp', match: { etherType: 0x88cc }, actions: [{ do: 'drop' }] }, { name: 'time', match: { etherType: 0x88f7 }, actions: [{ do: 'queue', queue: 1 }] },
  { name: 'six', match: { source: '2001:db8::1' }, actions: [{ do: 'drop' }] },
];

on('5-tuples and EtherTypes lead to queues or are dropped by the NIC; the rest runs in software, and says why', 4, (t, made) => {
  const { port, model, pool, peek } = made;
  t.same(Array.from({ length: 8 }, (_, n) => peek(FTQF + 4 * n) & 0x100), new Array<number>(8).fill(0), 'what stood in them is off');
  const offload = NicOffload.create(port, { firstFragments: true });
  const table = new FlowTable(pool, { queues: 4, offload, rules: RULES });
  t.match(table.query().rules.map(({ ran, why }) => why ?? ran), [...new Array<string>(5).fill('82576 filters'), /for IPv4/]);
  t.same([FTQF, 0x5980, 0x59a0, 0x59c0, 0x5a80, 0x5aa0].map(peek), [0x00028111, 0x0100000a, 0x0200000a, 0x0201, 0x20003500, 0x00081000], 'UDP, its addresses and ports as they stand in a packet, priority 1, queue 2');
  t.same([4, 8].map(at => peek(FTQF + at)), [0xd0078100, 0x80038101], 'a source to queue 7, which is off; ICMP between two to queue 3');
  t.same([0, 4].map(at => peek(ETQF + at)), [0x840788cc, 0x840188f7]);
  const icmp = ip('10.9.9.9', '192.0.2.9', 'udp', 1, 2);
  icmp[23] = 1;
  const frames: readonly (readonly [Uint8Array, number])[] = [
    [ip('10.0.0.1', '10.0.0.2', 'udp', 0x102, 53), 2], [ip('10.0.0.1', '10.0.0.2', 'udp', 0x102, 54), 0], [ip('10.0.0.1', '10.0.0.2', 'udp', 0x201, 53), 0], [ip('10.0.0.1', '10.0.0.2', 'tcp', 0x102, 53), 0], [ip('10.0.0.1', '10.0.0.3', 'udp', 0x102, 53), 0],
    [ip('192.0.2.7', '10.0.0.2', 'tcp', 1, 2), -1], [icmp, 3], [typed(0x88cc), -1], [typed(0x88f7), 1], [typed(0x88b5), 0],
    [ip('2001:db8::2', '2001:db8::3', 'udp', 9, 9), 0], [ip('2001:db8::1', '2001:db8::3', 'udp', 9, 9), -1],
  ];
  t.same(frames.map(([frame]) => whereTo(table, made, frame)), frames.map(([, to]) => to));
  t.equal(model.droppedOff, 2, 'the NIC dropped them, and no ring had them');
  t.equal(table.query().dropped, 1, 'software the one of IPv6');
  t.same([1, 2, 3].map(queue => peek(0xc010 + 0x40 * queue)), [1, 1, 1], 'RDH: of the others those of filters came straight to their queue');
  table.replace([{ name: 'ptp', match: { etherType: 0x0800, protocol: 'udp', destinationPort: 319 }, actions: [{ do: 'queue', queue: 1 }] }]);
  t.match(table.query().rules, [{ ran: 'software', why: /not known to leave IPv6 alone/ }]);
  t.same([ip('10.3.3.3', '10.4.4.4', 'udp', 9, 319), ip('2001:db8::2', '2001:db8::3', 'udp', 9, 319)].map(frame => whereTo(table, made, frame)), [1, 0]);
  t.match(port.flowRules!.add({ match: { destination: { bytes: Uint8Array.of(172, 16, 0, 0), length: 12 } }, to: 3 }), /whole addresses/);
  t.match(port.flowRules!.add({ match: { vlan: 5 }, to: 3 }), /MAC addresses or VLANs/);
  t.same([FTQF, FTQF + 4, ETQF].map(at => peek(at) & 0x80000100), [0x80000000, 0x80000000, 0].map(each => each | 0), 'off again: nothing is compared, and no queue is meant');
  const many = Array.from({ length: 9 }, (_, i) => port.flowRules!.add({ match: { source: { bytes: Uint8Array.of(10, 0, 0, i), length: 32 } }, to: 1 }));
  t.equal(many[8], 'all 8 of its filters of 5-tuples are taken');
  for (const entry of many) if (typeof entry !== 'string') entry.remove();
  offload.close();
  table.close();
});

on('with all queues that a filter can name in use there is none to drop into, and software drops', 8, (t, made) => {
  const { port, model, pool } = made;
  const offload = NicOffload.create(port);
  const table = new FlowTable(pool, { queues: 8, offload, rules: [{ name: 'gone', match: { source: '192.0.2.7' }, actions: [{ do: 'drop' }] }, { name: 'seven', match: { source: '192.0.2.8' }, actions: [{ do: 'queue', queue: 7 }] }] });
  t.match(table.query().rules, [{ ran: 'software', why: /every queue that they can name is on: open it with fewer/ }, { ran: '82576 filters' }]);
  t.same(['192.0.2.7', '192.0.2.8', '192.0.2.9'].map(source => whereTo(table, made, ip(source, '10.0.0.2', 'tcp', 1, 2))), [-1, 7, 0]);
  t.equal(model.droppedOff, 0);
  offload.close();
  table.close();
});

on('property: the same comes of each frame as without a NIC', 3, (t, made) => {
  const { pushed, drops, dropped } = sameFates(made, RUNS);
  t.ok(pushed > RUNS && drops > RUNS / 4 && dropped > RUNS / 8, `${pushed} rules were filters, ${drops} of them dropped ${dropped} frames`);
});

on('one queue: filters drop, and lead nowhere else', 1, (t, made) => {
  const offload = NicOffload.create(made.port);
  const table = new FlowTable(made.pool, { queues: 1, offload, rules: [{ name: 'gone', match: { source: '192.0.2.7' }, actions: [{ do: 'drop' }] }] });
  t.match(table.query().rules, [{ ran: '82576 filters' }]);
  t.same([whereTo(table, made, ip('192.0.2.7', '10.0.0.2', 'tcp', 1, 2)), whereTo(table, made, ip('192.0.2.8', '10.0.0.2', 'tcp', 1, 2)), made.model.droppedOff], [-1, 0, 1]);
  offload.close();
  table.close();
});
