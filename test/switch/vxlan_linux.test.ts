/** A tunnel to the Linux kernel's own vxlan device over veth: ping both ways, and TCP both ways. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { poll } from '../../lib/lcore/poll.js';
import { open } from '../../lib/port/host.js';
import { Switch } from '../../lib/switch/switch.js';
import { needs } from '../kernel/rights.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');
const [OURS, THEIRS] = ['192.168.7.1', '192.168.7.2'];
const MEGABYTES = 2;

/** Sends so many bytes to whoever connects, or counts those that come; prints how many, and a sum of them. */
const SERVER = `
  const server = require('net').createServer(socket => {
    let bytes = 0, sum = 0;
    socket.on('data', data => { bytes += data.length; for (const byte of data) sum = (sum * 31 + byte) >>> 0; });
    socket.on('end', () => { socket.end(bytes + ' ' + sum); server.close(); });
  }).listen(7777, process.argv[1], () => console.log('listening'));`;
const CLIENT = `
  const data = Buffer.alloc(${MEGABYTES} << 20, 'every byte has to come through a tunnel; ');
  let sum = 0;
  for (const byte of data) sum = (sum * 31 + byte) >>> 0;
  const socket = require('net').connect({ port: 7777, host: process.argv[1], allowHalfOpen: true }, () => socket.end(data));
  let answer = '';
  socket.on('data', part => answer += part).on('close', () => console.log(answer === data.length + ' ' + sum ? 'same' : 'other: ' + answer));`;

t.test('ping and TCP through a tunnel to the kernel', rights, async t => {
  const lab = openLab({ txChecksum: false });
  const end = new AbortController();
  const children: ChildProcess[] = [];
  const start = (netns: number, command: string, ...args: string[]): ChildProcess => {
    const child = withNetns(netns, () => spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
    children.push(child);
    return child;
  };
  const output = async (child: ChildProcess): Promise<string> => {
    let text = '';
    child.stdout!.on('data', (part: Buffer) => { text += part.toString(); });
    await once(child, 'close');
    return text;
  };
  const ip = (...words: string[]): void => { withNetns(lab.b.netns, () => execFileSync('ip', words)); };
  ip('link', 'add', 'vx0', 'type', 'vxlan', 'id', '7', 'local', lab.b.ip, 'remote', '10.77.0.77', 'dstport', '4789', 'dev', lab.b.name);
  ip('addr', 'add', `${THEIRS}/24`, 'dev', 'vx0');
  ip('link', 'set', 'vx0', 'up');
  const netns = `netns=/proc/self/fd/${lab.a.netns}`;
  const device = `af_packet:${lab.a.name},${netns}`;
  const tap = `tap:tap0,ip=${OURS}/24,mtu=1450,${netns}`;
  const host = open([device, tap]);
  const sw = new Switch(host, { bridges: { br: { ports: {
    station: { device: tap }, tunnel: { vxlan: { vni: 7, local: '10.77.0.77', remotes: [lab.b.ip], underlay: { device } } },
  } } } });
  const polling = poll(() => sw.poll(), { signal: end.signal, turnMs: 1, idle: { policy: 'adaptive', queues: sw.queues } });
  try {
    for (const [from, to] of [[lab.a, THEIRS], [lab.b, OURS]] as const) {
      t.match(await output(start(from.netns, 'ping', '-c', '3', '-i', '0.2', '-W', '3', '-s', '1400', to)), /3 received/, `ping ${to}`);
    }
    for (const [server, client, address] of [[lab.b, lab.a, THEIRS], [lab.a, lab.b, OURS]] as const) {
      const listener = start(server.netns, process.execPath, '-e', SERVER, address);
      await once(listener.stdout!, 'data');
      t.equal((await output(start(client.netns, process.execPath, '-e', CLIENT, address))).trim(), 'same', `TCP to ${address}`);
    }
    t.match(sw.fdb().find(({ port }) => port === 'tunnel'), { remote: lab.b.ip });
    const drops = sw.ports().filter(({ kind, name }) => kind !== 'device' || !name.startsWith('vtep')).map(port => port.drops);
    t.same(drops, [{}, {}]);
  } finally {
    end.abort();
    await polling;
    for (const child of children) child.kill('SIGKILL');
    sw.close();
    host.close();
    const { free, total } = host.pool.audit();
    t.equal(free, total, 'every mbuf is back');
    lab.close();
  }
});
