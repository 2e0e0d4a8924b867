/**
 * Merging and segmentation with Linux at both ends: what a Linux host sends is merged, and cut again, the same way or
 * another; the Linux host at the other end gets the same stream and finds no bad checksum, and tshark reads it so too.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { binding } from '../../lib/binding.js';
import { addressBytes } from '../../lib/address.js';
import { setU16, u32 } from '../../lib/kernel/bytes.js';
import { AF_INET, MSG_DONTWAIT, SOCK_DGRAM } from '../../lib/kernel/constants.js';
import { check } from '../../lib/kernel/errno.js';
import type { Burst } from '../../lib/burst/burst.js';
import { Chains } from '../../lib/mbuf/chains.js';
import { Gro } from '../../lib/wire/gro.js';
import { Segmenter } from '../../lib/wire/gso.js';
import { Ethernet } from '../../lib/wire/ether.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { ETHERTYPE_IPV4, PROTOCOL_TCP } from '../../lib/wire/protocol_layout.js';
import { Tcp, TCP_SYN } from '../../lib/wire/tcp.js';
import { needs } from '../kernel/rights.js';
import { writeCapture } from './pcap_helper.js';
import { ADDRESSES, TwoLinuxes } from './taps_helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN');
const AF_INET6 = 10;
const noTshark = spawnSync('tshark', ['--version']).status !== 0;

/** The wire from host 0 to host 1 merges and cuts; the way back is a plain one. */
class Wire {
  readonly gro: Gro;
  readonly segmenter: Segmenter;
  readonly #linuxes: TwoLinuxes;
  /** Payload bytes of a segment; 0: as it was. */
  readonly #size: number;
  /** Of each packet as it was merged, and of each as it was sent. */
  readonly merged: Uint8Array[] = [];
  readonly sent: Uint8Array[] = [];
  readonly #chains: Chains;
  readonly #bursts;

  constructor(linuxes: TwoLinuxes, size: number) {
    const { host } = linuxes;
    this.#linuxes = linuxes;
    this.#size = size;
    this.gro = new Gro(host.pool, { udp: true });
    this.segmenter = new Segmenter(host.pool);
    this.#chains = new Chains(host.pool);
    this.#bursts = { in: host.burst(64), pieces: host.burst(256), one: host.burst(1) };
  }

  poll(): void {
    const { in: burst, one } = this.#bursts;
    const { ports, pool } = this.#linuxes.host;
    const back = ports[1]!.rx[0]!.rxBurst(burst);
    pool.free(burst, ports[0]!.tx[0]!.txBurst(burst, back), back);
    const count = this.gro.merge(burst, ports[0]!.rx[0]!.rxBurst(burst));
    for (let i = 0; i < count; i++) {
      const handle = burst.handles[i]!;
      this.merged.push(this.#chains.copyOut(handle));
      const natural = this.gro.segmentSize(handle);
      one.handles[0] = handle;
      const made = this.#linuxes.host.mbufs.segments(handle) === 1 && this.#size === 0 ? 0 : this.segmenter.segment(handle, this.#size === 0 ? natural : this.#size, this.#bursts.pieces);
      if (made === 0) this.#send(one, 1);
      else {
        this.#send(this.#bursts.pieces, made);
        pool.free(one, 0, 1);
      }
    }
  }

  #send(burst: Burst, count: number): void {
    const { ports, pool } = this.#linuxes.host;
    for (let i = 0; i < count; i++) this.sent.push(this.#chains.copyOut(burst.handles[i]!));
    pool.free(burst, ports[1]!.tx[0]!.txBurst(burst, count), count);
  }

  close(): void {
    this.gro.close();
    this.segmenter.close();
    this.#chains.close();
    Object.values(this.#bursts).forEach(burst => burst.close());
  }
}

const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7) & 255));
const BYTES = 300_000;
const RECEIVE = `const hash = require('crypto').createHash('sha256'); let n = 0;
require('net').createServer(s => s.on('data', d => { hash.update(d); n += d.length; }).on('end', () => { s.end(); console.log(n + ' ' + hash.digest('hex')); process.exit(); })).listen(5000, '::', () => console.log('up'))`;
const SEND = `const data = Buffer.from(Uint8Array.from({ length: ${BYTES} }, (_, i) => (i * 31 + (i >> 8) * 7) & 255));
require('net').connect(5000, process.argv[1], function () { this.end(data); });`;

/** The stream that a view of these frames shows: each byte at its place, whatever came twice. */
function streamOf(frames: readonly Uint8Array[], linuxes: TwoLinuxes): Uint8Array {
  const { host } = linuxes;
  const chains = new Chains(host.pool);
  const burst = host.burst(1);
  const [ether, four, six, tcp] = [new Ethernet(host.mbufs), new Ipv4(host.mbufs), new Ipv6(host.mbufs), new Tcp(host.mbufs)];
  const stream = new Uint8Array(BYTES);
  let base = -1;
  for (const bytes of frames) {
    host.pool.alloc(burst, 1);
    chains.copyIn(burst.handles[0]!, bytes);
    ether.at(burst.handles[0]!);
    const ip = ether.type === ETHERTYPE_IPV4 ? four : six;
    if (ip.at(burst.handles[0]!, ether.end) && ip.protocol === PROTOCOL_TCP && tcp.at(burst.handles[0]!, ip.end) && tcp.destinationPort === 5000) {
      if ((tcp.flags & TCP_SYN) !== 0) base = tcp.sequence + 1;
      const end = ip === four ? ether.end + four.totalLength : ether.end + 40 + six.payloadField;
      stream.set(bytes.subarray(tcp.end, end), (tcp.sequence - base) >>> 0 < BYTES ? (tcp.sequence - base) >>> 0 : 0);
    }
    host.pool.free(burst, 0, 1);
  }
  chains.close();
  burst.close();
  return stream;
}

for (const [family, [, right]] of Object.entries(ADDRESSES)) {
  for (const size of [0, 536]) {
    t.test(`TCP over ${family} from Linux, merged and cut ${size === 0 ? 'again' : `to ${size} bytes`}, to Linux`, rights, async t => {
      const linuxes = new TwoLinuxes();
      const wire = new Wire(linuxes, size);
      const [up, said] = await new Promise<[string, Promise<string>]>(go => {
        const all = linuxes.script(1, RECEIVE, [], () => undefined, text => go([text, all]));
      });
      await Promise.all([linuxes.script(0, SEND, [right], () => wire.poll()), said]);
      const expected = pattern(BYTES);
      t.equal(await said, `${up}${BYTES} ${createHash('sha256').update(expected).digest('hex')}\n`, 'the far end has read what was sent');
      t.ok(wire.gro.stats.merged > 30, `${wire.gro.stats.merged} segments were merged into ${wire.gro.stats.packets}`);
      t.ok(wire.segmenter.stats.segments > 100, `${wire.segmenter.stats.segments} were cut`);
      t.ok(Buffer.from(streamOf(wire.merged, linuxes)).equals(expected), 'merged: the bytes that were sent');
      t.equal(linuxes.counter(1, 'Tcp', 'InCsumErrors'), 0, 'no bad checksum there');
      t.ok(linuxes.counter(1, 'Tcp', 'InSegs') > (size === 0 ? 100 : 500));
      if (size > 0) t.ok(Math.max(...wire.sent.map(bytes => bytes.length)) <= size + 14 + 40 + 60, 'as short as asked for');
      if (size > 0 && !noTshark) tsharkReads(t, wire.sent, expected);
      wire.close();
      t.equal(linuxes.host.pool.audit().app, 0, 'no mbuf stayed with the program');
      linuxes.close();
    });
  }

  t.test(`UDP over ${family} from Linux with UDP_SEGMENT, merged and cut again, to Linux`, rights, async t => {
    const linuxes = new TwoLinuxes();
    const wire = new Wire(linuxes, 0);
    const sizes = [[1200, 20 * 1200], [1200, 20 * 1200 + 300], [1, 50], [1448, 1448]] as const;
    const receiver = linuxes.within(1, () => udpSocket(family, right));
    const sender = linuxes.within(0, () => udpSocket(family));
    check(binding().connect(sender, sockaddr(family, right, 6000)), 'connect');
    for (const [segment, length] of sizes) {
      const data = pattern(length);
      check(binding().setsockopt(sender, 17, 103, u32(segment)), 'setsockopt(UDP_SEGMENT)'); // SOL_UDP, linux/udp.h
      t.equal(binding().send(sender, data, 0), length, `${length} bytes in datagrams of ${segment}`);
      const got: Buffer[] = [];
      const into = new Uint8Array(65536);
      for (const deadline = performance.now() + 20_000; got.length < Math.ceil(length / segment) && performance.now() < deadline;) {
        wire.poll();
        for (let n = binding().recv(receiver, into, MSG_DONTWAIT); n >= 0; n = binding().recv(receiver, into, MSG_DONTWAIT)) got.push(Buffer.from(into.slice(0, n)));
        await turn();
      }
      t.same(got.map(each => each.length).slice(0, -1).filter(bytes => bytes !== segment), [], 'datagrams as they were sent');
      t.ok(Buffer.concat(got).equals(data), 'and their bytes');
    }
    t.ok(wire.gro.stats.merged >= 40, `${wire.gro.stats.merged} merged`);
    t.equal(linuxes.counter(1, family === 'IPv4' ? 'Udp' : '', family === 'IPv4' ? 'InCsumErrors' : 'Udp6InCsumErrors'), 0, 'no bad checksum there');
    for (const fd of [sender, receiver]) binding().close(fd);
    wire.close();
    linuxes.close();
  });
}

/** All checksums good, and the stream, which tshark puts together by itself, as it was. */
function tsharkReads(t: Test, frames: readonly Uint8Array[], expected: Buffer): void {
  const path = join(t.testdir({}), 'sent.pcap');
  writeFileSync(path, writeCapture('pcap', frames.map((bytes, i) => ({ bytes, length: bytes.length, time: [1, i * 1000] }))));
  const words = ['-r', path, '-n', '-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE', '-Y', 'tcp', '-T', 'fields', '-e', 'ip.checksum.status', '-e', 'tcp.checksum.status', '-z', 'follow,tcp,raw,0'];
  const { stdout } = spawnSync('tshark', words, { encoding: 'utf8', maxBuffer: 1 << 26 });
  const [fields = '', followed = ''] = stdout.split(/^=+$/m);
  const lines = fields.trim().split('\n').map(line => line.trim());
  t.same([...new Set(lines)].filter(line => line !== '1' && line !== '1\t1'), [], `tshark finds ${lines.length} packets good`);
  const stream = Buffer.from((followed.match(/^[0-9a-f]+$/gm) ?? []).join(''), 'hex');
  t.ok(lines.length > 500 && stream.equals(expected), 'and reads the same stream');
}

function udpSocket(family: string, address?: string): number {
  const fd = check(binding().socket(family === 'IPv4' ? AF_INET : AF_INET6, SOCK_DGRAM, 0), 'socket');
  if (address !== undefined) check(binding().bind(fd, sockaddr(family, address, 6000)), 'bind');
  return fd;
}

/** struct sockaddr_in or sockaddr_in6. */
function sockaddr(family: string, address: string, port: number): Uint8Array {
  const bytes = new Uint8Array(family === 'IPv4' ? 16 : 28);
  setU16(bytes, 0, family === 'IPv4' ? AF_INET : AF_INET6);
  new DataView(bytes.buffer).setUint16(2, port);
  bytes.set(addressBytes(address), family === 'IPv4' ? 4 : 8);
  return bytes;
}
