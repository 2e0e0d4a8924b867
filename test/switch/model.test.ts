/**
 * The switch against a model of a bridge that is written from IEEE 802.1Q-2018: 6.9.1 (VLAN identifier of a received
 * frame), 8.6.2 (ingress filtering), 8.7 (learning), 8.8.3 (ageing), 8.6.1 and 8.6.4 (egress: member sets), 8.6.5 (untagged sets).
 * The model knows frames as bytes and one table, and no cache: whatever the cache does must not be seen.
 */
import fc from 'fast-check';
import t from 'tap';
import type { VlanConfig } from '../../lib/switch/config.js';
import { BROADCAST, SwitchLab, frame, type FrameParts } from './lab_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 2000 : 60;
const AGEING = 30_000;
const PORTS = ['p0', 'p1', 'p2', 'p3'] as const;
type Name = (typeof PORTS)[number];

interface Sent { readonly from: Name; readonly parts: FrameParts; readonly times: number }
type Command = { readonly kind: 'send'; readonly sent: readonly Sent[] } | { readonly kind: 'wait'; readonly ms: number };

class Model {
  readonly #vlans: Readonly<Record<Name, VlanConfig | undefined>>;
  readonly #table = new Map<string, { port: Name; seen: number }>();

  constructor(vlans: Readonly<Record<Name, VlanConfig | undefined>>) {
    this.#vlans = vlans;
  }

  /** What leaves by which port. */
  receive(from: Name, bytes: Uint8Array, now: number): [Name, Uint8Array][] {
    const tagged = bytes[12] === 0x81 && bytes[13] === 0;
    const vid = tagged ? ((bytes[14]! & 15) << 8) | bytes[15]! : 0;
    const priority = tagged ? bytes[14]! >>> 4 : 0;
    const payload = tagged ? bytes.subarray(16) : bytes.subarray(12);
    if ((bytes[6]! & 1) === 1 || vid === 4095) return [];
    const vlan = vid === 0 ? this.#pvid(from) : vid;
    if (vlan === undefined || !this.#isMember(from, vlan) || (vid !== 0 && !this.#takesTagged(from))) return [];
    const [destination, source] = [hex(bytes.subarray(0, 6)), hex(bytes.subarray(6, 12))];
    this.#table.set(`${vlan} ${source}`, { port: from, seen: now });
    const known = this.#table.get(`${vlan} ${destination}`);
    const isUnicast = (bytes[0]! & 1) === 0 && known !== undefined && now - known.seen <= AGEING;
    const ways = isUnicast ? [known.port] : [...PORTS];
    return ways.filter(to => to !== from && this.#isMember(to, vlan)).map(to => {
      const tag = this.#isUntagged(to, vlan) ? [] : [0x81, 0, (priority << 4) | (vlan >>> 8), vlan & 255];
      return [to, Uint8Array.from([...bytes.subarray(0, 12), ...tag, ...payload])];
    });
  }

  #pvid(port: Name): number | undefined {
    const config = this.#vlans[port];
    if (config === undefined) return 0;
    if ('access' in config) return config.access;
    return config.native ?? (config.trunk === 'all' ? 0 : undefined);
  }

  #isMember(port: Name, vlan: number): boolean {
    const config = this.#vlans[port];
    if (config === undefined) return true;
    if (vlan === 0) return this.#pvid(port) === 0;
    return 'access' in config ? config.access === vlan : config.trunk === 'all' || config.native === vlan || config.trunk.includes(vlan);
  }

  #isUntagged(port: Name, vlan: number): boolean {
    return this.#pvid(port) === vlan;
  }

  #takesTagged(port: Name): boolean {
    const config = this.#vlans[port];
    return config === undefined || 'trunk' in config;
  }
}

const vids = fc.constantFrom(1, 2, 3);
const vlanConfigs: fc.Arbitrary<VlanConfig | undefined> = fc.oneof(
  fc.constant(undefined),
  vids.map(access => ({ access })),
  fc.record({ trunk: fc.oneof(fc.constant('all' as const), fc.uniqueArray(vids, { minLength: 1 })) }),
  fc.record({ trunk: fc.oneof(fc.constant('all' as const), fc.uniqueArray(vids)), native: vids }),
);
const stations = fc.integer({ min: 1, max: 6 }).map(station => 0x020000000000 + station);
const frames: fc.Arbitrary<FrameParts> = fc.record({
  to: fc.oneof({ weight: 6, arbitrary: stations }, fc.constantFrom(BROADCAST, 0x01005e000001)),
  from: fc.oneof({ weight: 12, arbitrary: stations }, fc.constant(0x030000000001)),
  tag: fc.constantFrom(undefined, undefined, 0, 1, 2, 3, 4, 4095), priority: fc.integer({ min: 0, max: 7 }), length: fc.constantFrom(60, 61, 200),
}).map(({ tag, ...rest }) => tag === undefined ? rest : { ...rest, tag });
const commands: fc.Arbitrary<Command[]> = fc.array(fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('send' as const), sent: fc.array(fc.record({ from: fc.constantFrom(...PORTS), parts: frames, times: fc.integer({ min: 1, max: 3 }) }), { minLength: 1, maxLength: 6 }) }) },
  fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 900, 4000, 25_000, 31_000) }),
), { minLength: 5, maxLength: 40, size: 'max' });

t.test('a bridge with VLANs does what the standard says, whatever its cache does', async t => {
  let [fast, all] = [0, 0];
  fc.assert(fc.property(fc.tuple(vlanConfigs, vlanConfigs, vlanConfigs, vlanConfigs), commands, fc.constantFrom(2, 16, 256), (configs, list, flows) => {
    const vlans = Object.fromEntries(PORTS.map((port, i) => [port, configs[i]])) as Record<Name, VlanConfig | undefined>;
    const ports = Object.fromEntries(PORTS.map(port => [port, vlans[port] === undefined ? {} : { vlan: vlans[port] }]));
    const lab = new SwitchLab({ br: { ageingSeconds: AGEING / 1000, ports } }, { flows, mbufs: 512 });
    try {
      const model = new Model(vlans);
      for (const command of list) {
        if (command.kind === 'wait') {
          lab.now += command.ms;
          lab.sw.sweep(lab.now);
          continue;
        }
        for (const { from, parts, times } of command.sent) {
          const bytes = frame(parts);
          for (let i = 0; i < times; i++) {
            const wanted = model.receive(from, bytes, lab.now).sort(([a], [b]) => a < b ? -1 : 1).map(([to, out]) => [to, [hex(out)]]);
            const found = Object.entries(lab.exchange(from, bytes)).map(([to, list]) => [to, list.map(hex)]);
            if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${from} ${JSON.stringify(parts)}: got ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
          }
        }
        // Nothing is lost: what came in is out, or counted.
        if (lab.out !== 0) throw new Error(`${lab.out} mbufs are out`);
      }
      const { packets, slow } = lab.sw.show();
      fast += packets - slow;
      all += packets;
    } finally {
      lab.close();
    }
  }), { numRuns: RUNS });
  t.ok(fast > all / 20, `${all} frames, ${fast} of them by the cache alone`);
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
