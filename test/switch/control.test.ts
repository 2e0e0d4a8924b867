/** `pollmode switch` and its control socket: what a stranger writes into it, who is already there, and how it ends. */
import { lstatSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { SwitchConfig } from '../../lib/switch/config.js';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { open } from '../../lib/port/host.js';
import { ControlServer } from '../../lib/switch/control_server.js';
import { LONGEST_REQUEST, parseRequest, type ControlAnswer } from '../../lib/switch/protocol.js';
import type { FdbEntry, PortReport } from '../../lib/switch/report.js';
import { pollmode } from '../cli/program_helper.js';
import { needs } from '../kernel/rights.js';
import { frame } from '../port/conformance/frames.js';
import { receiveBy, sendBy } from '../port/conformance/wires.js';
import { scratch, SwitchRun } from './program_helper.js';

const RINGS = { bridges: { br0: { ports: { a: { device: 'ring:a' }, b: { device: 'ring:b' } } }, br1: { ports: {} } } } as const;

/** Bytes into the socket; what comes back until it is closed, or so many lines have come. */
function say(path: string, bytes: string | Uint8Array, lines: number): Promise<ControlAnswer[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(bytes));
    let heard = '';
    const answers = (): ControlAnswer[] => heard.split('\n').slice(0, -1).map(line => JSON.parse(line) as ControlAnswer);
    socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      if (answers().length >= lines) socket.destroy();
    });
    socket.on('close', () => resolve(answers()));
    socket.on('error', (cause: NodeJS.ErrnoException) => { if (cause.code !== 'EPIPE' && cause.code !== 'ECONNRESET') reject(cause); });
  });
}

t.test('from another terminal: show, ports, fdb, flows, reload, stop', needs(), async t => {
  const run = new SwitchRun(t, { ...RINGS, name: 'rings' });
  await run.start();
  t.match(run.said, /^switch "rings": br0, br1, 2 ports; pollmode switch show --control /);
  const ask = (...words: string[]): string => {
    const { status, stdout, stderr } = pollmode('switch', ...words, '--control', run.control);
    t.equal(status, 0, stderr);
    return stdout;
  };
  const text = ask('show');
  for (const part of [/switch "rings"  process \d+/, /^br0 {2}0 of 8192 addresses$/m, /^├─ a {2}ring:a .*rx 0 \(0 B\)/m, /^└─ b {2}ring:b/m, /^br1 /m]) t.match(text, part);
  t.match(JSON.parse(ask('show', '--json')), { name: 'rings', pid: run.pid, file: run.file, idle: 'busy', config: RINGS, report: { bridges: [{ name: 'br0' }, { name: 'br1' }] } });
  t.same((JSON.parse(ask('ports', '--json')) as PortReport[]).map(({ name }) => name), ['a', 'b']);
  t.match(ask('ports'), /^port +rx packets.*\nbr0\/a +0 +0 +0 +0 +0\n/);
  t.match(ask('fdb'), /^bridge {2}vlan {2}address/);
  t.same(JSON.parse(ask('flows', '--json')), []);
  t.match(ask('show', '--dot'), /^graph "rings" \{[\s\S]*"br0" -- "br0\/a";[\s\S]*\}\n$/);
  run.write({ ...RINGS, name: 'rings', bridges: { ...RINGS.bridges, br1: { ports: { c: { device: 'null:' } } } } });
  t.equal(ask('reload'), 'opened br1/c; 2 ports go on\n');
  t.equal(ask('stop'), 'stopped\n');
  t.equal(await run.end('SIGCONT'), 0);
  t.notOk(existsSync(run.control), 'the socket\'s file is gone');
  t.match(pollmode('switch', 'show', '--control', run.control), { status: 1, stderr: /No switch runs here.*pollmode switch CONFIG/ });
});

t.test('--check, --schema, and wrong usage', async t => {
  const file = join(scratch(t), 'x.json');
  writeFileSync(file, JSON.stringify(RINGS));
  t.match(pollmode('switch', '--check', file), { status: 0, stdout: `${file} is right: 2 bridges, 2 ports\n` });
  t.same(JSON.parse(pollmode('switch', '--check', '--json', file).stdout), RINGS);
  t.equal(pollmode('switch', '--schema').stdout, readFileSync(new URL('../../../lib/switch/schema.json', import.meta.url), 'utf8'));
  writeFileSync(file, '{"bridges":{"a":{"ports":{"x":{"device":"nothing:"}}}}}');
  for (const words of [['--check', file], [file]]) t.match(pollmode('switch', ...words), { status: 1, stderr: /x\.json: \/bridges\/a\/ports\/x\/device: No driver is named "nothing"/ });
  t.match(pollmode('switch'), { status: 1, stderr: /give a configuration, or one of show/ });
  t.match(pollmode('switch', '/nowhere.json'), { status: 1, stderr: /^pollmode: \/nowhere\.json cannot be read/ });
});

t.test('the socket is its owner\'s; one that a dead switch left is replaced, one of a live switch is refused', needs(), async t => {
  const run = new SwitchRun(t, RINGS);
  await run.start();
  t.equal(lstatSync(run.control).mode & 0o777, 0o600);
  t.match(pollmode('switch', run.file), { status: 1, stderr: /Somebody listens at / });
  t.match(await run.show(), { name: 'switch' }, 'and goes on');
  t.equal(await run.end('SIGKILL'), null);
  t.ok(existsSync(run.control));
  t.match(pollmode('switch', 'show', '--control', run.control), { status: 1, stderr: /has died: start it again/ });
  await run.start();
  t.match(await run.show(), { name: 'switch', pid: run.pid });
  t.equal(await run.end('SIGTERM'), 0);
  writeFileSync(run.control, 'somebody\'s file');
  t.match(pollmode('switch', run.file), { status: 1, stderr: /is no socket/ });
  t.equal(readFileSync(run.control, 'utf8'), 'somebody\'s file');
});

t.test('hostile lines are answered with an error each, and the switch goes on', needs(), async t => {
  const run = new SwitchRun(t, RINGS);
  await run.start();
  const lines = ['{', '[]', 'null', '"show"', '{}', '{"request":"format c:"}', '{"request":"show","id":"x"}', '{"request":"fdb","bridge":7}', '{"request":"fdb","bridge":"none"}', '{"id":9,"request":"flows","limit":-1}',
    '{"request":"flows","limit":1e9}', '{"request":"show","__proto__":{}}', '{"request":"show","constructor":1}', '\u0000\u0001', '{"id":7,"request":"ports"}'];
  const answers = await say(run.control, `${lines.join('\n')}\n`, lines.length);
  t.equal(answers.length, lines.length);
  t.same(answers.slice(0, -1).filter(answer => !('error' in answer)), []);
  t.match(answers[8], { error: { code: 'ENOTFOUND', message: 'There is no bridge "none": there are br0, br1.' } });
  t.equal(answers[9]!.id, 9, 'a refusal has the request\'s number');
  t.match(answers.at(-1), { id: 7, answer: [{ name: 'a' }, { name: 'b' }] });
  for (const bytes of ['x'.repeat(LONGEST_REQUEST + 1), `${'x'.repeat(1 << 20)}\n`, Buffer.alloc(100_000, 0xff)]) {
    t.match(await say(run.control, bytes, 1), [{ error: { code: 'EFORMAT', message: /at most 1024 characters/ } }]);
  }
  t.same(await say(run.control, '\n\n  \n{"request":"fdb"}\n', 1), [{ id: 0, answer: [] }]);
  // One half of a line, and nothing for a while; one that is cut by the peer's end.
  const half = connect(run.control, () => half.write('{"request":'));
  await sleep(50);
  t.match(await run.show(), { name: 'switch' });
  half.end();
  await t.rejects(run.ask({ request: 'none' as 'show' }), { code: 'EFORMAT' });
  t.equal(await run.end(), 0);
});

t.test('a flood of requests is served as slowly as it may ask; who does not read is not written to', needs(), async t => {
  const run = new SwitchRun(t, RINGS);
  await run.start();
  const silent = connect(run.control, () => silent.write('{"request":"show"}\n'.repeat(5000)));
  silent.on('error', () => undefined).pause();
  let told = 0;
  const flood = connect(run.control, () => flood.write('{"request":"fdb"}\n'.repeat(5000)));
  flood.setEncoding('utf8').on('error', () => undefined).on('data', (text: string) => { told += text.split('\n').length - 1; });
  const started = performance.now();
  for (let i = 0; i < 5; i++) t.same(await run.ask({ request: 'fdb' }) as FdbEntry[], [], 'others are answered');
  while (told < 20) await sleep(50);
  await sleep(500);
  const seconds = (performance.now() - started) / 1000;
  t.ok(told <= 20 + 20 * (seconds + 1), `no more than it may have: ${told} in ${seconds} s`);
  const many = Array.from({ length: 30 }, () => connect(run.control).on('error', () => undefined));
  const refused = await Promise.race(many.map(socket => new Promise<string>(resolve => { socket.setEncoding('utf8').once('data', resolve); })));
  t.match(refused, 'EBUSYQUEUE', 'and there is a most of them; who is none too many is not spoken to');
  for (const socket of [silent, flood, ...many]) socket.destroy();
  // It sees them go in its own time.
  let shown: unknown;
  for (let tries = 0; tries < 600 && shown === undefined; tries++) {
    shown = await run.show().catch(() => undefined);
    if (shown === undefined) await sleep(100);
  }
  t.match(shown, { name: 'switch' });
  t.equal(await run.end(), 0);
});

t.test('one terminal too many is told so, and nothing that it says is done', async t => {
  const path = join(scratch(t), 'control');
  let done = 0;
  const server = new ControlServer({ path, answer: () => done++ });
  t.teardown(() => server.close());
  const heard: string[] = [];
  const sockets = Array.from({ length: 17 }, () => {
    const socket = connect(path, () => socket.write('{"request":"stop"}\n'));
    t.teardown(() => { socket.destroy(); });
    return socket.setEncoding('utf8').on('error', () => undefined).on('data', (text: string) => heard.push(text));
  });
  while (heard.length < sockets.length) await sleep(10);
  await sleep(50); // for what it said
  t.same([heard.filter(text => text.includes('EBUSYQUEUE')).length, done], [1, 16]);
});

t.test('any text as a request: a request or EFORMAT', async () => {
  const one = (line: string): void => {
    try {
      parseRequest(line);
    } catch (cause) {
      if (!(cause instanceof PollmodeError) || cause.code !== 'EFORMAT') throw cause;
    }
  };
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), one), { numRuns: 2000 });
  fc.assert(fc.property(fc.record({ id: fc.jsonValue(), request: fc.oneof(fc.constant('fdb'), fc.jsonValue()), bridge: fc.jsonValue(), limit: fc.jsonValue() }, { requiredKeys: [] }), value => one(JSON.stringify(value))), { numRuns: 2000 });
});

t.test('a changed file: applied whole or refused whole; by SIGHUP and by --follow too', needs(), async t => {
  const run = new SwitchRun(t, RINGS);
  await run.start('--follow');
  const bridges = async (): Promise<string[]> => (await run.show()).report.bridges.map(({ name }) => name);
  await t.rejects(run.reload({ bridges: { br0: { ports: { a: { device: 'ring:a' }, x: { device: 'null:' }, y: { device: 'af_xdp:none0' } } } } }), { message: /none0/ });
  t.same(await bridges(), ['br0', 'br1']);
  const guest = (options: string): unknown => ({ bridges: { br0: { ports: { ...RINGS.bridges.br0.ports, guest: { device: `vhost:${run.file}.vhost${options}` } } }, br1: { ports: {} } } });
  await run.reload(guest('') as SwitchConfig);
  await t.rejects(run.reload(guest(',mtu=9000') as SwitchConfig), { message: /the switch has it open as vhost:.*, and a running port keeps its options: take it out in one reload/ });
  await run.reload(RINGS);
  t.same((await run.show()).report.ports.map(({ name }) => name), ['a', 'b'], 'what was opened for it is closed again');
  for (const fixed of [{ pool: { mbufs: 4096 } }, { lcore: { burst: 8 } }, { flows: 2048 }, { name: 'other' }]) {
    await t.rejects(run.reload({ ...RINGS, ...fixed }), { code: 'EOPTION', message: /is taken at the start only/ });
  }
  writeFileSync(run.file, '{');
  await t.rejects(run.ask({ request: 'reload' }), { code: 'EFORMAT' });
  const until = async (wanted: readonly string[]): Promise<void> => {
    for (let tries = 0; tries < 200 && (await bridges()).join() !== wanted.join(); tries++) await sleep(60);
    t.same(await bridges(), wanted);
  };
  run.write({ bridges: { br0: RINGS.bridges.br0, br2: { ports: {} } } });
  await until(['br0', 'br2']);
  run.write({ bridges: { br0: RINGS.bridges.br0, br3: { ports: {} } } });
  process.kill(run.pid, 'SIGHUP');
  await until(['br0', 'br3']);
  t.match(run.said, /switch: 2 ports go on/);
  t.equal(await run.end(), 0);
});

t.test('whether a guest is there, and what it did wrong, is seen from another terminal', needs(), async t => {
  const socket = join(scratch(t), 'vm');
  const run = new SwitchRun(t, { bridges: { br0: { ports: { vm: { device: `vhost:${socket},guest_memory=64`, storm: { packetsPerSecond: 500 } }, other: { device: 'ring:a' } } } } });
  await run.start();
  const vm = async (): Promise<PortReport> => (await run.ask({ request: 'ports' }) as PortReport[])[0]!;
  const text = (what: string): string => pollmode('switch', what, '--control', run.control).stdout;
  t.match(await vm(), { link: 'down', counters: {} });
  t.match(text('show'), /├─ vm .*  storm 500\/s .*  down$/m);
  const guest = open([`virtio_user:${socket},queue_size=64,mtu=1700`], { mbufs: 512 });
  sendBy(guest, guest.ports[0]!, [frame(1519, 1)]);
  for (let tries = 0; tries < 100 && (await vm()).counters?.['rx_bad_frame'] === undefined; tries++) await sleep(20);
  t.match(await vm(), { link: 'up', counters: { connections: 1, rx_bad_frame: 1 }, rx: { packets: 0 } }, 'a frame that is longer than the port takes');
  t.match(text('show'), /├─ vm .*  device: rx_bad_frame 1$/m);
  t.match(text('ports'), /^br0\/vm .*  up, rx_bad_frame 1, .*connections 1/m);
  guest.close();
  for (let tries = 0; tries < 100 && (await vm()).link === 'up'; tries++) await sleep(20);
  t.match(text('show'), /├─ vm .*  down, device: rx_bad_frame 1$/m);
  t.notOk('link' in (await run.ask({ request: 'ports' }) as PortReport[])[1]!, 'a ring does not know');
  t.equal(await run.end(), 0);
});

t.test('ports that share the pool with a peer come while the switch runs', needs(), async t => {
  const folder = scratch(t);
  const ports = { vm: { device: `vhost:${join(folder, 'vm')},guest_memory=64` } };
  const run = new SwitchRun(t, { bridges: { br0: { ports } } });
  await run.start();
  const peers = open([`vhost:${join(folder, 'back')},guest_memory=64`, `memif:${join(folder, 'memif')},role=server,client_memory=64`]);
  const guest = open([`virtio_user:${join(folder, 'vm')},queue_size=64`], { mbufs: 512 });
  t.teardown(() => { for (const host of [peers, guest]) host.close(); });
  const more = { ...ports, up: { device: `virtio_user:${join(folder, 'back')}` }, side: { device: `memif:${join(folder, 'memif')}` } };
  t.same((await run.reload({ bridges: { br0: { ports: more } } })).opened, ['br0/up', 'br0/side']);
  sendBy(guest, guest.ports[0]!, [frame(100, 3)]);
  for (const port of peers.ports) {
    let got: Uint8Array[] = [];
    for (let tries = 0; tries < 200 && got.length === 0; tries++) {
      await sleep(10);
      got = receiveBy(peers, port);
    }
    t.same(got, [frame(100, 3)], port.name);
  }
  t.equal(await run.end(), 0);
});
