/** The README's forwarder as it stands there, and what header views cost the heap. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getHeapStatistics } from 'node:v8';
import t from 'tap';
import ts from 'typescript';
import { Arena } from '../../lib/arena/arena.js';
import { Ethernet, ETHERTYPE_IPV4, Ipv4, Udp } from '../../lib/index.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import * as build from '../../lib/wire/build.js';
import { readCapture, writeCapture } from './pcap_helper.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const MACS = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'] as const;
const udp = build.udp({ sourcePort: 7, destinationPort: 8 });
const frameWith = (ttl: number, [destination, source]: readonly [string, string]): Uint8Array =>
  build.frame(build.ethernet({ destination, source }), build.vlan({ id: 5 }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2', ttl }), udp, new Array<number>(20).fill(1));

/** The README's pieces of TypeScript, in its order. */
const pieces = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!);
const piece = (has: string): string => pieces.find(each => each.includes(has))!;
const forwarder = piece('import { open, poll');
const LOOP = /^ {2}for .*\n/m;
/** The forwarder with the README's longer loop over a burst in the place of its own. */
const router = forwarder.replace('Ethernet }', 'Ethernet, Ipv4, ETHERTYPE_IPV4 }').replace(LOOP, piece('decrementTtl'));
const back = [MACS[1], MACS[0]] as const;

for (const [name, program, hop] of [['the README\'s forwarder sends packets back', forwarder, 0], ['its longer loop makes them one hop older', router, 1]] as const) {
  t.test(name, t => {
    const folder = t.testdir({});
    const [input, output] = [join(folder, 'in.pcap'), join(folder, 'out.pcap')];
    const other = build.frame(build.ethernet({ destination: MACS[0], source: MACS[1] }), [1, 2, 3]);
    const frames = [frameWith(64, MACS), frameWith(1, MACS), other];
    writeFileSync(input, writeCapture('pcap', frames.map(bytes => ({ bytes, length: bytes.length, time: [1, 0] }))));
    const ended = program.replace('\'pollmode\'', JSON.stringify(new URL('../../lib/index.js', import.meta.url).href))
      .replace('af_xdp:veth1', `pcap:${input},tx=${output}`).replace(/\}\);\n$/, '}, { seconds: 0.2 });\nhost.close();\n');
    const { outputText } = ts.transpileModule(ended, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 } });
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', outputText], { encoding: 'utf8' });
    t.equal(status, 0, stderr);
    t.same(readCapture(readFileSync(output), { window: 4096 }).frames.map(({ bytes }) => Uint8Array.from(bytes)), [frameWith(64 - hop, back), frameWith(1, back), build.frame(build.ethernet({ destination: back[0], source: back[1] }), [1, 2, 3])]);
    t.end();
  });
}

t.test('it is ten lines, and compiles as `tsc --init` of TypeScript 5.9 has it', t => {
  t.equal(forwarder.trim().split('\n').length, 10);
  const folder = t.testdir({
    'forwarder.ts': forwarder,
    'router.ts': router,
    'drops.ts': `import { open } from 'pollmode';\nconst host = open(['null:']), burst = host.burst(32), got: number = 32;\nconst wanted = (packet: number): boolean => packet > 0;\n${piece('const drops')}`,
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        module: 'nodenext', target: 'esnext', types: [], strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, verbatimModuleSyntax: true,
        isolatedModules: true, noUncheckedSideEffectImports: true, moduleDetection: 'force', skipLibCheck: true, noEmit: true,
      },
    }),
  });
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder], { encoding: 'utf8' });
  t.equal(status, 0, stdout);
  t.end();
});

t.test('ten million headers read and written leave the heap alone', t => {
  const arena = Arena.create();
  const pool = Mempool.create(arena, 'pool', { count: 64 });
  const burst = pool.burst(32);
  pool.alloc(burst, 32);
  for (const handle of burst.handles) pool.mbufs.copyIn(handle, frameWith(255, MACS));
  const [ether, ip, datagram] = [new Ethernet(pool.mbufs), new Ipv4(pool.mbufs), new Udp(pool.mbufs)];
  const rounds = (count: number): number => {
    let found = 0;
    for (let i = 0; i < count; i++) {
      const handle = burst.handles[i & 31]!;
      if (!ether.at(handle) || ether.type !== ETHERTYPE_IPV4 || !ip.at(handle, ether.end) || !datagram.at(handle, ip.end, ip.limit)) continue;
      ether.swap();
      const source = ip.source;
      ip.source = ip.destination;
      ip.destination = source;
      if (ip.decrementTtl() === 0) ip.ttl = 255;
      datagram.sourcePort = (datagram.sourcePort + 1) & 0xffff;
      found++;
    }
    return found;
  };
  rounds(1_000_000);
  const before = getHeapStatistics().used_heap_size;
  t.equal(rounds(3_400_000), 3_400_000);
  const grown = getHeapStatistics().used_heap_size - before;
  t.ok(grown < 1 << 20, `the heap grew by ${grown} bytes`);
  t.end();
});
