/** Configurations, right and wrong: the schema and the meaning behind it. */
import { readFileSync, readdirSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { checkSwitchConfig, parseSwitchConfig, readSwitchConfig, switchSchema } from '../../lib/switch/parse.js';
import { devicesOf } from '../../lib/switch/devices.js';

const EXAMPLES = new URL('../../../examples/', import.meta.url);
const whole = (ports: object, more: object = {}): object => ({ bridges: { a: { ports, ...more }, b: { ports: {} } } });
const tunnel = (change: object): object => ({ vxlan: { vni: 1, local: '10.0.0.1', remotes: ['10.0.0.2'], underlay: { device: 'tap:x' }, ...change } });

t.test('the examples are right, and so is every part of the schema\'s own', async t => {
  const files = readdirSync(EXAMPLES).filter(name => name.endsWith('.json'));
  t.ok(files.length >= 2);
  for (const name of files) t.ok(readSwitchConfig(new URL(name, EXAMPLES).pathname).bridges, name);
  t.equal((JSON.parse(switchSchema()) as { title: string }).title, 'pollmode switch');
  const config = checkSwitchConfig({ bridges: { a: { ports: { x: { device: 'tap:x' }, y: { device: 'tap:y' } } }, b: { ports: { z: { vxlan: { vni: 0, local: '10.0.0.1', remotes: ['10.0.0.2'], underlay: { device: 'tap:z' } } } } } } });
  t.same(devicesOf(config), ['tap:x', 'tap:y', 'tap:z']);
});

t.test('each fault is told with its path and its mend', async t => {
  const cases: readonly [string, unknown, RegExp][] = [
    ['a list', [], /the whole is \[\].* give an object with bridges/],
    ['nothing in it', {}, /the whole lacks "bridges"/],
    ['no bridges', { bridges: {} }, /\/bridges is \{\}/],
    ['a word that there is not', { ...whole({}), bridge: 1 }, /the whole has no "bridge". It has: name, bridges,/],
    ['a name with a space', { bridges: { 'a b': { ports: {} } } }, /\/bridges has the name "a b": give a name/],
    ['a name that is JavaScript\'s', JSON.parse('{"bridges":{"a":{"ports":{"__proto__":{"device":"null:"}}}}}'), /\/bridges\/a\/ports has the name "__proto__"/],
    ['a port of nothing', whole({ x: {} }), /\/bridges\/a\/ports\/x is \{\}: give a port, which has one of/],
    ['a port of two', whole({ x: { device: 'null:', patch: { bridge: 'b', port: 'x' } } }), /which has one of "device", "patch" and "vxlan"/],
    ['a VLAN too far', whole({ x: { device: 'null:', vlan: { access: 4095 } } }), /\/bridges\/a\/ports\/x\/vlan\/access is 4095, .*give a VLAN, 1 to 4094/],
    ['access and trunk', whole({ x: { device: 'null:', vlan: { access: 1, trunk: 'all' } } }), /\/vlan is /],
    ['native of an access port', whole({ x: { device: 'null:', vlan: { access: 1, native: 2 } } }), /has "native" without "trunk"/],
    ['a trunk of words', whole({ x: { device: 'null:', vlan: { trunk: 'some' } } }), /\/vlan\/trunk is "some": give a list of VLANs/],
    ['no limit', whole({ x: { device: 'null:', storm: {} } }), /\/storm lacks "packetsPerSecond"/],
    ['half an address', whole({ x: tunnel({ local: '10.0.0' }) }), /\/vxlan\/local is "10.0.0": give an IPv4 address/],
    ['a group', whole({ x: tunnel({ remotes: ['239.1.1.1'] }) }), /\/vxlan has the address 239.1.1.1, which is no station/],
    ['itself', whole({ x: tunnel({ remotes: ['10.0.0.1'] }) }), /\/remotes has 10.0.0.1, this end/],
    ['its own bridge below it', whole({ x: tunnel({ underlay: { bridge: 'a' } }) }), /would go into themselves/],
    ['no such bridge below it', whole({ x: tunnel({ underlay: { bridge: 'c' } }) }), /\/underlay\/bridge is "c", which is not there: there are a, b/],
    ['nothing below it', whole({ x: tunnel({ underlay: {} }) }), /\/underlay is \{\}: give what carries it/],
    ['one tunnel twice', whole({ x: tunnel({}), y: tunnel({}) }), /\/y\/vxlan is the tunnel of \/bridges\/a\/ports\/x once more/],
    ['a patch to nowhere', whole({ x: { patch: { bridge: 'b', port: 'y' } } }), /\/x\/patch names port "y" of bridge "b", which is not there/],
    ['a patch to a word of JavaScript', whole({ x: { patch: { bridge: 'constructor', port: 'name' } } }), /which is not there/],
    ['a patch into itself', whole({ x: { patch: { bridge: 'a', port: 'x' } } }), /leads back into "a"/],
    ['a patch that is none there', { bridges: { a: { ports: { x: { patch: { bridge: 'b', port: 'y' } } } }, b: { ports: { y: { device: 'null:' } } } } }, /which is no patch/],
    ['a patch to another\'s end', { bridges: { a: { ports: { x: { patch: { bridge: 'b', port: 'y' } }, z: { patch: { bridge: 'b', port: 'y' } } } }, b: { ports: { y: { patch: { bridge: 'a', port: 'z' } } } } } }, /whose other end is "z" of "a"/],
    ['one device twice', whole({ x: { device: 'tap:x' }, y: { device: 'tap:x' } }), /\/y\/device is "tap:x", which \/bridges\/a\/ports\/x has too/],
    ['a port\'s device below a tunnel', whole({ x: { device: 'tap:x' }, y: tunnel({}) }), /\/underlay\/device is "tap:x", which \/bridges\/a\/ports\/x has too/],
    ['a driver that there is not', whole({ x: { device: 'vhots:/run/vm0.sock' } }), /\/bridges\/a\/ports\/x\/device: No driver is named "vhots": there are null, /],
    ['an option that the driver has not', whole({ x: { device: 'vhost:/run/vm0.sock,frobnicate=1' } }), /\/x\/device: .*vhost has no option "frobnicate"\. It has: client, /],
    ['a ring that cannot be', whole({ x: { device: 'virtio_user:/run/s,queue_size=100' } }), /\/x\/device: .*a split ring of 100 descriptors/],
    ['a driver that there is not below a tunnel', whole({ x: tunnel({ underlay: { device: 'xdp:eth0' } }) }), /\/x\/vxlan\/underlay\/device: No driver is named "xdp"/],
    ['the null port twice', whole({ x: { device: 'null:' }, y: { device: 'null:' } }), /\/y\/device is "null:", which \/bridges\/a\/ports\/x has too/],
    ['one address over two underlays', whole({ x: tunnel({}), y: tunnel({ vni: 2, underlay: { device: 'tap:y' } }) }), /\/bridges: a\/y and another tunnel have the local address 10\.0\.0\.1 over different underlays/],
    ['huge pages of another kind', { ...whole({}), pool: { hugePages: 'yes' } }, /\/pool\/hugePages is "yes": give "never", "try" or "must"/],
    ['a mirror of nobody', whole({ x: { device: 'null:' } }, { mirrors: { m: { from: ['z'], to: 'x' } } }), /\/bridges\/a\/mirrors\/m names the port "z", which this bridge has not: it has x/],
    ['a mirror of itself', whole({ x: { device: 'null:' } }, { mirrors: { m: { from: ['x'], to: 'x' } } }), /\/from has "x", where the copies go/],
    ['a mirror of a mirror', whole({ x: { device: 'null:' }, y: { device: 'tap:y' }, z: { device: 'tap:z' } }, { mirrors: { m: { from: ['x'], to: 'y' }, n: { from: ['y'], to: 'z' } } }), /\/mirrors\/n\/from has the port that mirror "m"/],
    ['a burst of nothing', { ...whole({}), lcore: { burst: 0 } }, /\/lcore\/burst is 0/],
    ['a buffer of an odd size', { ...whole({}), pool: { bufferSize: 3000 } }, /\/pool\/bufferSize is 3000: give 2048 or 4096/],
  ];
  for (const [what, config, message] of cases) t.throws(() => checkSwitchConfig(config), { code: 'EOPTION', message }, what);
});

t.test('no JSON is told with its place, and a file that is not there by its name', async t => {
  t.throws(() => parseSwitchConfig('{\n  "bridges": {,}\n}', 'x.json'), { code: 'EFORMAT', message: /x\.json is no JSON.*line 2.*column 15/ });
  for (const text of ['', '{', '[', 'null x', '"\u0001"', '{"a":1}}']) t.throws(() => parseSwitchConfig(text), { code: 'EFORMAT' }, JSON.stringify(text));
  for (const text of ['null', '1', '"x"', 'true']) t.throws(() => parseSwitchConfig(text), { code: 'EOPTION' }, text);
  t.throws(() => readSwitchConfig('/nowhere/switch.json'), { code: 'ENOTFOUND', message: /\/nowhere\/switch\.json cannot be read \(ENOENT\)/ });
});

t.test('whatever it is given: a configuration or a PollmodeError of one line', async () => {
  const good = JSON.parse(readFileSync(new URL('switch-neutron.json', EXAMPLES), 'utf8')) as unknown;
  const refused = (value: unknown): void => {
    try {
      checkSwitchConfig(value);
    } catch (cause) {
      if (!(cause instanceof PollmodeError) || cause.message.includes('\n') || cause.message.length > 2000) throw cause;
    }
  };
  fc.assert(fc.property(fc.json({ maxDepth: 6 }), text => refused(JSON.parse(text))), { numRuns: 500 });
  // A right one with one value in it exchanged for anything.
  fc.assert(fc.property(fc.nat(), fc.jsonValue(), (where, value) => refused(exchanged(good, where, value))), { numRuns: 2000 });
});

/** A copy in which the value at a place, counted through all of them, is another. */
function exchanged(tree: unknown, where: number, value: unknown): unknown {
  const paths: (readonly string[])[] = [];
  const walk = (node: unknown, path: readonly string[]): void => {
    paths.push(path);
    if (typeof node === 'object' && node !== null) for (const [key, inner] of Object.entries(node)) walk(inner, [...path, key]);
  };
  walk(tree, []);
  const path = paths[where % paths.length]!;
  if (path.length === 0) return value;
  const copy = structuredClone(tree) as Record<string, unknown>;
  const parent = path.slice(0, -1).reduce<Record<string, unknown>>((node, key) => node[key] as Record<string, unknown>, copy);
  parent[path.at(-1)!] = value;
  return copy;
}
