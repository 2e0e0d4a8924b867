/**
 * Which room of lib/ may import which: the whole list. Dependencies point one way, and a breach, a room that is not in
 * the list, or a cycle of files fails here. A new edge is a line below, with its reason where it is not obvious.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const LIB = fileURLToPath(new URL('../../lib/', import.meta.url));

/** What every driver may use: the contract and what stands below it. Never another driver. */
const DRIVER = ['arena', 'binding', 'burst', 'errors', 'kernel', 'layouts', 'mbuf', 'port', 'wire'];

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  // Files of plain number constants, which the TypeScript and the AssemblyScript compiler both read: anyone may, and they read each other only.
  layouts: [],
  errors: [],
  address: ['errors'],
  binding: ['errors'],
  arena: ['binding', 'errors', 'layouts'],
  burst: ['arena', 'binding', 'errors', 'layouts'], // copier.ts: to and from memory that is not in the arena
  'burst/assembly': ['layouts'],
  ring: ['arena', 'burst', 'errors', 'layouts'],
  mbuf: ['arena', 'burst', 'errors', 'layouts', 'ring'], // a pool's free list is a ring
  kernel: ['binding', 'errors'],
  // A virtqueue is set up in a queue's state, whoever's it is; what carries kicks and addresses is the port driver's.
  virtqueue: ['arena', 'burst', 'errors', 'layouts', 'mbuf'],
  // A parser's 5-tuples stand in a zone of the arena.
  wire: ['address', 'arena', 'burst', 'errors', 'layouts', 'mbuf'],
  // The contract, and the parts that drivers are made of; event_loop.ts sleeps on descriptors.
  port: ['arena', 'binding', 'burst', 'errors', 'kernel', 'layouts', 'mbuf'],
  'port/drivers/af_packet': DRIVER,
  'port/drivers/af_xdp': [...DRIVER, 'journal'], // channel counts are put back
  // A memif queue's state and copying are a virtqueue's, and sockets have turns as vhost-user's do.
  'port/drivers/memif': [...DRIVER, 'vhost_user', 'virtqueue'],
  'port/drivers/null': DRIVER,
  'port/drivers/pcap': DRIVER,
  'port/drivers/ring': [...DRIVER, 'ring'],
  'port/drivers/tap': DRIVER,
  'port/drivers/vfio': [...DRIVER, 'rss', 'virtqueue'], // the default key; virtio-net behind PCI
  'port/drivers/vhost': [...DRIVER, 'vhost_user', 'virtqueue'],
  'port/drivers/virtio_user': [...DRIVER, 'vhost_user', 'virtqueue'],
  // Who finds a driver by its name: the list itself, the attaching of another thread, and the host, which first undoes what a killed run left.
  'port/open': ['arena', 'burst', 'errors', 'journal', 'layouts', 'mbuf', 'port', ...drivers()],
  // A steered queue is a queue like any other, and hands packets to lcores through rings; a plan wants to know what is near (kernel).
  rss: ['address', 'arena', 'burst', 'errors', 'kernel', 'layouts', 'mbuf', 'port', 'ring', 'wire'],
  // Tables in the arena; it knows no packets, and takes its keys from vectors.
  lookup: ['address', 'arena', 'burst', 'errors', 'layouts'],
  // A tree of disciplines is a send queue in front of another; a packet's flow is told by the hash that steering uses (rss).
  qdisc: ['arena', 'burst', 'errors', 'layouts', 'mbuf', 'port', 'rss'],
  // Rules over received bursts; pushed down, they are an XDP program (kernel, and binding to close descriptors). Queues of it are rings.
  flow: ['address', 'arena', 'binding', 'burst', 'errors', 'kernel', 'layouts', 'mbuf', 'port', 'ring', 'rss', 'wire'],
  // Bridges over the host's ports (port/open: those that a configuration adds are opened); its flow cache is a hash table.
  switch: ['address', 'arena', 'burst', 'errors', 'journal', 'kernel', 'layouts', 'lookup', 'mbuf', 'port', 'port/open', 'wire'],
  // The messages and sockets that both ends of vhost-user have.
  vhost_user: ['binding', 'kernel'],
  // It attaches to queues by name (port/open) and knows no driver; an lcore that distributes, and those that it distributes to, are made of a steering (rss).
  lcore: ['arena', 'binding', 'burst', 'errors', 'layouts', 'mbuf', 'port', 'port/open', 'ring', 'rss'],
  lab: ['binding', 'errors', 'kernel'],
  // The privileged side of af_xdp's broker= option: its program, its map and their protocol are the driver's.
  broker: ['binding', 'errors', 'kernel', 'port/drivers/af_xdp'],
  journal: ['binding', 'errors', 'kernel'],
  pci: ['binding', 'errors', 'journal', 'kernel'],
  // It loads the burst module, to see that it can be.
  doctor: ['arena', 'binding', 'burst', 'errors', 'journal', 'kernel', 'port', 'port/open'],
  sweep: ['arena', 'binding', 'burst', 'errors', 'kernel', 'lab', 'layouts', 'lcore', 'mbuf', 'port', 'port/open', 'wire'],
  index: ['address', 'arena', 'burst', 'errors', 'flow', 'layouts', 'lcore', 'lookup', 'mbuf', 'port', 'port/open', 'qdisc', 'ring', 'rss', 'switch', 'wire'],
  // Nobody imports it.
  cli: ['binding', 'broker', 'burst', 'doctor', 'errors', 'journal', 'kernel', 'lab', 'lcore', 'mbuf', 'pci', 'port', 'port/open', 'sweep', 'switch', 'wire'],
};

function drivers(): string[] {
  return readdirSync(join(LIB, 'port/drivers'), { withFileTypes: true }).filter(entry => entry.isDirectory()).map(entry => `port/drivers/${entry.name}`);
}

const OPENING = new Set(['port/attach.ts', 'port/attached_host.ts', 'port/drivers.ts', 'port/host.ts']);

/** The room that a file (its path in lib/) stands in. */
function roomOf(file: string): string {
  if (/(^|[/_])layout\.ts$/.test(file) || file === 'burst/codes.ts') return 'layouts';
  if (OPENING.has(file)) return 'port/open';
  const parts = file.split('/');
  if (parts.length === 1) return parts[0]!.replace('.ts', '');
  if (file.startsWith('port/drivers/')) return parts.slice(0, 3).join('/');
  return file.startsWith('burst/assembly/') ? 'burst/assembly' : parts[0]!;
}

/** Each file of lib/ and what it imports of lib/; types too, since a reader follows them as well. */
function readImports(): Map<string, string[]> {
  const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
  return new Map(files.map(file => [file, importsOf(file, readFileSync(join(LIB, file), 'utf8'))]));
}

function importsOf(file: string, source: string): string[] {
  return [...source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"](\.[^'"]+)['"]/g)].map(([, name]) => {
    const target = normalize(join(dirname(file), name!));
    return /\.js$/.test(target) ? target.replace(/\.js$/, '.ts') : `${target}.ts`;
  });
}

/** The first circle found, as a path that ends where it began; undefined for none. */
function circle(imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const found = visit(next, [...path, file]);
      if (found !== undefined) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const found = visit(file, []);
    if (found !== undefined) return found;
  }
  return undefined;
}

function breaches(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const list: string[] = [];
  for (const [file, targets] of imports) {
    const room = roomOf(file);
    if (ALLOWED[room] === undefined) list.push(`${file}: the room "${room}" is not in the list`);
    for (const target of targets) {
      const other = roomOf(target);
      if (!imports.has(target)) list.push(`${file}: ${target} does not exist in lib/`);
      else if (other !== room && !(ALLOWED[room] ?? []).includes(other)) list.push(`${file}: "${room}" may not import "${other}" (${target})`);
    }
  }
  return list;
}

const imports = readImports();

t.test('every import is allowed', t => {
  t.ok(imports.size > 80, `${imports.size} files were read`);
  t.same(breaches(imports), []);
  t.end();
});

t.test('no circle', t => {
  t.same(circle(imports), undefined);
  t.end();
});

t.test('the list itself points one way, and names rooms only', t => {
  const rooms = new Map(Object.entries(ALLOWED));
  t.same(circle(rooms), undefined);
  t.same([...rooms.values()].flat().filter(other => !rooms.has(other)), []);
  t.end();
});

t.test('breaches are found', t => {
  const none = [...imports.keys()].map((file): [string, string[]] => [file, []]);
  const made = (extra: Record<string, string[]>): Map<string, string[]> => new Map([...none, ...Object.entries(extra)]);
  t.match(breaches(made({ 'mbuf/x.ts': ['port/port.ts'] })), ['mbuf/x.ts: "mbuf" may not import "port" (port/port.ts)']);
  t.match(breaches(made({ 'port/drivers/null/x.ts': ['port/drivers/ring/ring.ts'] })), [/may not import "port\/drivers\/ring"/]);
  t.match(breaches(made({ 'sweep/x.ts': ['cli/main.ts'] })), [/may not import "cli"/]);
  t.match(breaches(made({ 'attic/x.ts': [] })), [/"attic" is not in the list/]);
  t.match(breaches(made({ 'mbuf/layout.ts': ['mbuf/mbufs.ts'] })), [/"layouts" may not import "mbuf"/]);
  t.same(importsOf('a/b.ts', `import './c.js';\nimport type { D } from "../d.js";\nexport * from './e';\nconst f = await import('./f.js');`), ['a/c.ts', 'd.ts', 'a/e.ts', 'a/f.ts']);
  t.same(circle(new Map([['a', ['b']], ['b', ['c', 'd']], ['c', []], ['d', ['b']]])), ['b', 'd', 'b']);
  t.end();
});
