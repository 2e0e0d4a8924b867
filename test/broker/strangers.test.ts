/** What is said at a broker's door by those who mean it no good, and what a client hears from what is no broker. */
import { readdirSync } from 'node:fs';
import t, { type Test as Tap } from 'tap';
import { binding } from '../../lib/binding.js';
import { BPF_MAP_TYPE_XSKMAP, O_RDONLY, SOCK_RAW } from '../../lib/kernel/constants.js';
import { mapFromFd } from '../../lib/kernel/bpf.js';
import { readLink, setLink } from '../../lib/kernel/link.js';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { closeAll, receiveMessage, seqpacketSocket, sendMessage, unixAddress, type UnixMessage } from '../../lib/kernel/unix.js';
import { openLab } from '../../lib/lab/veth.js';
import { open } from '../../lib/port/host.js';
import { XskSocket } from '../../lib/port/drivers/af_xdp/socket.js';
import { AF_XDP, XDP_COPY } from '../../lib/port/drivers/af_xdp/uapi.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { NOBODY, Stage } from './broker_helper.js';
import { FakeServer, type Step } from './server_helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF', 'CAP_SETUID');
const EPERM = 1;
const EINVAL = 22;

function descriptors(pid: number | string = 'self'): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A connection that says whatever it likes. */
class Stranger {
  readonly fd = seqpacketSocket();

  constructor(path: string) {
    if (binding().connect(this.fd, unixAddress(path)) < 0) throw new Error('nobody there');
  }

  async say(text: string | Uint8Array, fds: readonly number[] = []): Promise<UnixMessage | 'end'> {
    sendMessage(this.fd, typeof text === 'string' ? new TextEncoder().encode(text) : text, fds);
    return this.hear();
  }

  async hear(): Promise<UnixMessage | 'end'> {
    for (;;) {
      const message = receiveMessage(this.fd, 4096);
      if (message !== undefined) return message;
      await new Promise(resolve => { setTimeout(resolve, 5); });
    }
  }

  close(): void {
    binding().close(this.fd);
  }
}

function textOf(message: UnixMessage | 'end'): string {
  return message === 'end' ? 'end' : new TextDecoder().decode(message.bytes);
}

const OPEN = '{"pollmode":1,"request":"open","device":"veth0","queue":0,"take":"socket"}';

t.test('a broker and strangers', rights, async t => {
  const lab = openLab();
  const stage = new Stage();
  t.teardown(() => {
    stage.remove();
    lab.close();
  });
  const broker = await stage.broker(lab.a.netns, '--interface', 'veth0', '--give', 'both');
  const pid = broker.child.pid!;
  const before = descriptors(pid);
  const file = binding().open('/dev/null', O_RDONLY);

  const breaches: readonly (readonly [string, string | Uint8Array, readonly number[]])[] = [
    ['junk', Uint8Array.of(0, 255, 1, 2), []],
    ['no JSON', '{"pollmode":1', []],
    ['no object', '[1]', []],
    ['nothing in it', '{}', []],
    ['another version', OPEN.replace('1', '2'), []],
    ['no such request', OPEN.replace('open', 'shut'), []],
    ['a queue that is none', OPEN.replace('0,', '-1,'), []],
    ['a queue that is a text', OPEN.replace('0,', '"0",'), []],
    ['a path for a device', OPEN.replace('veth0', '../../etc'), []],
    ['nothing that can be taken', OPEN.replace('"socket"', '"program"'), []],
    ['what an object inherits', OPEN.replace('"take":"socket"', '"__proto__":{"take":"socket"}'), []],
    ['too long', OPEN + ' '.repeat(1024), []],
    ['nested deep', '['.repeat(1024), []],
    ['a descriptor that nobody wants', OPEN, [file]],
    ['two of them', OPEN, [file, file]],
    ['253 of them', OPEN, new Array<number>(253).fill(file)],
    ['enter before open', '{"pollmode":1,"request":"enter","queue":0}', []],
  ];
  for (const [what, text, fds] of breaches) {
    const stranger = new Stranger(stage.socket);
    const answer = await stranger.say(text, fds);
    t.match(textOf(answer), /^\{"pollmode":1,"answer":"refused","code":"EFORMAT"/, what);
    t.equal(await stranger.hear(), 'end', `${what}: and that was all`);
    stranger.close();
  }

  const good = new Stranger(stage.socket);
  const granted = await good.say(OPEN);
  t.match(JSON.parse(textOf(granted)), { answer: 'socket', program: 'native', link: { ifindex: lab.a.ifindex, mac: lab.a.mac, mtu: 1500, queues: 1, kind: 'veth' } });
  const socket = (granted as UnixMessage).fds[0]!;
  const thief = new Stranger(stage.socket);
  t.match(textOf(await thief.say('{"pollmode":1,"request":"enter","queue":0}')), /"EFORMAT"/, 'another\'s queue');
  thief.close();
  t.match(textOf(await good.say('{"pollmode":1,"request":"enter","queue":0}', [socket])), /"EFORMAT".*send none/, 'the broker has the socket');
  good.close();
  closeAll([socket]);

  const mapper = new Stranger(stage.socket);
  const map = (await mapper.say(OPEN.replace('"socket"', '"map"')) as UnixMessage).fds[0]!;
  t.equal(mapFromFd(map).type, BPF_MAP_TYPE_XSKMAP);
  t.match(textOf(await mapper.say('{"pollmode":1,"request":"enter","queue":0}', [file])), /"refused"/, 'a file is not entered');
  mapper.close();
  const helped = new Stranger(stage.socket);
  closeAll((await helped.say(OPEN.replace('"socket"', '"map"')) as UnixMessage).fds);
  const own = binding().socket(AF_XDP, SOCK_RAW, 0);
  t.match(textOf(await helped.say('{"pollmode":1,"request":"enter","queue":0}', [own])), /"entered"/, 'a socket of the client\'s own is, where its kernel lets it not');
  helped.close();
  closeAll([own, map, file]);

  const last = new Stranger(stage.socket);
  const again = await last.say(OPEN);
  t.match(textOf(again), /"answer":"socket"/, 'it still serves');
  closeAll((again as UnixMessage).fds);
  last.close();
  await broker.complained('left');
  for (let tries = 0; descriptors(pid) > before && tries < 6000; tries++) await new Promise(resolve => { setTimeout(resolve, 10); });
  // A descriptor fewer is one of its own start.
  t.ok(descriptors(pid) <= before, 'nothing of theirs is left in it');
});

t.test('the broker\'s socket can be bound to its interface only', rights, async t => {
  const lab = openLab();
  const stage = new Stage();
  t.teardown(() => {
    stage.remove();
    lab.close();
  });
  await stage.broker(lab.a.netns, '--interface', 'veth0', '--allow-uid', String(NOBODY));
  const untier = await stage.client(`
    const { binding } = await import(LIB + 'binding.js');
    const { receiveMessage, seqpacketSocket, sendMessage, unixAddress } = await import(LIB + 'kernel/unix.js');
    const fd = seqpacketSocket();
    binding().connect(fd, unixAddress(${JSON.stringify(stage.socket)}));
    sendMessage(fd, new TextEncoder().encode(${JSON.stringify(OPEN)}));
    binding().poll(Int32Array.of(fd, 1), 5000);
    const [socket] = receiveMessage(fd, 1024).fds;
    const tie = name => binding().setsockopt(socket, 1, 25, new TextEncoder().encode(name + '\\0'));
    console.log(JSON.stringify([tie(''), tie('lo'), tie('veth0')]));
  `);
  t.same(JSON.parse(untier.lines[0]!), [-EPERM, -EPERM, -EPERM], 'who has no right cannot untie it');
  await untier.ended;
  const host = open(['null:'], { mbufs: 256 });
  const bound = (fd: number, ifindex: number): number => {
    const socket = new XskSocket(host.arena, host.pool, `test/${fd}`, { rx: 64, tx: 64 }, fd);
    const result = socket.bind(ifindex, 0, XDP_COPY);
    socket.close();
    return result;
  };
  const loopback = withNetns(lab.a.netns, () => {
    const { ifindex } = readLink('lo');
    setLink(ifindex, { up: true });
    return ifindex;
  });
  const untied = withNetns(lab.a.netns, () => binding().socket(AF_XDP, SOCK_RAW, 0));
  t.equal(bound(untied, loopback), 0, 'any other socket can be bound there');
  for (const [ifindex, result] of [[loopback, -EINVAL], [lab.a.ifindex, 0]] as const) {
    const client = new Stranger(stage.socket);
    t.equal(bound((await client.say(OPEN) as UnixMessage).fds[0]!, ifindex), result);
    client.close();
  }
  host.close();
});

/** Where the interfaces of what is no broker are: its own loopback, number 1. */
let elsewhere = -1;
t.before(() => {
  if (rights.skip !== false) return;
  elsewhere = createNetns();
  withNetns(elsewhere, () => setLink(1, { up: true }));
});
t.after(() => { if (elsewhere >= 0) binding().close(elsewhere); });

/** What happens, the code that opening a port must throw, what the server does, and more options of the port. */
type Case = readonly [what: string, wanted: string, steps: readonly Step[], options?: string];

async function hear(t: Tap, cases: readonly Case[]): Promise<void> {
  const server = await FakeServer.start(elsewhere, cases.map(([, , steps]) => steps));
  t.teardown(() => server.close());
  const before = descriptors();
  for (const [what, wanted, , options = ''] of cases) {
    t.equal(codeThrown(() => open([`af_xdp:veth0,rx_ring=64,tx_ring=64,broker=${server.path}${options}`], { mbufs: 256 })), wanted, what);
    t.equal(descriptors(), before, `${what}: no descriptor is left`);
  }
}

const LINK = '"link":{"ifindex":1,"mac":"","mtu":1500,"queues":1,"kind":""}';
const GRANT = `{"pollmode":1,"answer":"socket","program":"native","netns":"",${LINK}}`;
const MAP = GRANT.replace('"socket"', '"map"');

t.test('a client and what is no broker', rights, t => hear(t, [
  ['nothing within the deadline', 'ENOANSWER', [{ sleep: true }]],
  ['the end', 'ENOANSWER', [{ close: true }]],
  ['junk', 'EFORMAT', [{ text: '\u0000\u0001' }]],
  ['bytes that are no text', 'EFORMAT', [{ bytes: [0xff, 0xfe] }]],
  ['too long', 'EFORMAT', [{ text: GRANT + ' '.repeat(1024), fds: ['xdp'] }]],
  ['no descriptor', 'EFORMAT', [{ text: GRANT }]],
  ['two descriptors', 'EFORMAT', [{ text: GRANT, fds: ['xdp', 'xdp'] }]],
  ['253 descriptors', 'EFORMAT', [{ text: GRANT, fds: new Array<'file'>(253).fill('file') }]],
  ['a file for a socket', 'EFORMAT', [{ text: GRANT, fds: ['file'] }]],
  ['a socket of another family', 'EFORMAT', [{ text: GRANT, fds: ['unix'] }]],
  ['a map for a socket', 'EFORMAT', [{ text: GRANT, fds: ['xskmap'] }]],
  ['another thing than asked for', 'EFORMAT', [{ text: MAP, fds: ['xskmap'] }]],
  ['the second answer first', 'EFORMAT', [{ text: '{"pollmode":1,"answer":"entered"}' }]],
  ['a newer protocol', 'EFORMAT', [{ text: GRANT.replace('1', '2'), fds: ['xdp'] }]],
  ['an interface that cannot be', 'EFORMAT', [{ text: GRANT.replace('"ifindex":1', '"ifindex":-1'), fds: ['xdp'] }]],
  ['a queue beyond its own count', 'EFORMAT', [{ text: GRANT.replace('"queues":1', '"queues":2'), fds: ['xdp'] }], ',queue=3'],
  ['a refusal', 'EBUSYQUEUE', [{ text: '{"pollmode":1,"answer":"refused","code":"EBUSYQUEUE","why":"\\u001b[2Jno"}' }]],
  ['a refusal with a code of its own', 'EFORMAT', [{ text: '{"pollmode":1,"answer":"refused","code":"EVIL","why":"no"}' }]],
  ['a file for a map', 'EFORMAT', [{ text: MAP, fds: ['file'] }], ',take=map'],
  ['a socket for a map', 'EFORMAT', [{ text: MAP, fds: ['xdp'] }], ',take=map'],
  ['a map of another type', 'EFORMAT', [{ text: MAP, fds: ['array'] }], ',take=map'],
  ['a program, whose type has the number of an XSKMAP', 'EFORMAT', [{ text: MAP, fds: ['program'] }], ',take=map'],
  ['an interface that is not there', 'ENOTFOUND', [{ text: GRANT.replace('"ifindex":1', '"ifindex":2147483647'), fds: ['xdp'] }]],
]));

const BIND: Step = { text: GRANT, fds: ['xdp'] };

t.test('a broker that fails after the bind', rights, t => hear(t, [
  ['hangs up', 'ENOANSWER', [BIND, { close: true }]],
  ['grants once more', 'EFORMAT', [BIND, BIND]],
  ['sends a descriptor with its answer', 'EFORMAT', [BIND, { text: '{"pollmode":1,"answer":"entered"}', fds: ['file'] }]],
  ['refuses', 'ERIGHTS', [BIND, { text: '{"pollmode":1,"answer":"refused","code":"ERIGHTS","why":"no"}' }]],
]));
