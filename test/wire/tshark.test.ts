/** Every packet of the captures is read as tshark reads it: 5-tuple, lengths, fragment flags, whether checksums hold. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD } from '../../lib/mbuf/layout.js';
import { formatIpv4, formatIpv6 } from '../../lib/address.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { Parser } from '../../lib/wire/parser.js';
import { Tcp } from '../../lib/wire/tcp.js';
import { Udp } from '../../lib/wire/udp.js';
import { capturedFrames, type Captured } from './captures_helper.js';
import { packets } from './packet_helper.js';
import { writeCapture } from './pcap_helper.js';

const missing = spawnSync('tshark', ['--version']).status !== 0 && 'needs tshark, which this platform has not: apt install tshark';

const FIELDS = [
  'frame.protocols', 'ip.src', 'ip.dst', 'ip.proto', 'ip.hdr_len', 'ip.len', 'ip.id', 'ip.ttl', 'ip.flags.df', 'ip.flags.mf', 'ip.frag_offset', 'ip.checksum.status',
  'ipv6.src', 'ipv6.dst', 'ipv6.nxt', 'ipv6.plen', 'ipv6.hlim', 'ipv6.flow', 'ipv6.fraghdr.offset', 'ipv6.fraghdr.more', 'ipv6.fraghdr.ident',
  'tcp.srcport', 'tcp.dstport', 'tcp.hdr_len', 'tcp.seq_raw', 'tcp.ack_raw', 'tcp.window_size_value', 'tcp.checksum.status',
  'udp.srcport', 'udp.dstport', 'udp.length', 'udp.checksum.status', 'sctp.srcport', 'sctp.dstport', 'dccp.srcport', 'dccp.dstport',
  'icmp.checksum.status', 'icmpv6.checksum.status',
] as const;
type Line = Readonly<Record<typeof FIELDS[number], string>>;

/** One run over all frames, since tshark takes long to start. Nothing is put together: each packet is read as it is. */
function readByTshark(path: string): Line[] {
  const off = ['ip.defragment', 'ipv6.defragment', 'tcp.desegment_tcp_streams', 'tcp.analyze_sequence_numbers'].flatMap(name => ['-o', `${name}:FALSE`]);
  const on = ['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum'].flatMap(name => ['-o', `${name}:TRUE`]);
  const { stdout } = spawnSync('tshark', ['-r', path, '-n', ...off, ...on, '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=f', ...FIELDS.flatMap(field => ['-e', field])], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return stdout.trimEnd().split('\n').map(line => {
    const words = line.split('|');
    return Object.fromEntries(FIELDS.map((field, i) => [field, words[i] ?? ''])) as Line;
  });
}

const STATUS = { '0': 'bad', '1': 'good' } as Record<string, string>;
const lab = packets({ bufferSize: 4096 });
const { mbufs } = lab;
const [parser, checksums, ip, ip6, tcp, udp] = [new Parser(lab.arena, 1), new Checksums(lab.arena), new Ipv4(mbufs), new Ipv6(mbufs), new Tcp(mbufs), new Udp(mbufs)];

function handleOf(frame: Captured): number {
  const handle = lab.put(frame.bytes);
  parser.parse(lab.burst, 1);
  parser.tuples(lab.burst, 1);
  checksums.check(lab.burst, 1);
  return handle;
}

/**
 * Where tshark goes on and we do not, with the reason. It sums up what is there of a message that is said to be longer
 * than its frame; shows addresses of a header whose options are missing; and looks into a MACsec frame that is signed only.
 */
function meant(field: string, line: Line, frame: Captured): boolean {
  const isCut = Number(line['ip.len']) + 14 > frame.length;
  if (field === 'icmp.checksum.status' || field === 'tcp.checksum.status') return isCut;
  return field === 'ip.src' && (Number(line['ip.hdr_len']) + 14 > frame.bytes.length || line['frame.protocols'].includes(':macsec:'));
}

/** What we say of a frame, by tshark's names, and only of what we found. */
function ours(handle: number): Record<string, string> {
  const at = mbufs.l2Len(handle);
  const said = parser.family(0) === 4 ? four(handle, at) : parser.family(0) === 6 ? six(handle, at) : {};
  return { ...said, ...upper(handle) };
}

function four(handle: number, at: number): Record<string, string> {
  if (!ip.at(handle, at)) return { 'ip.src': 'no IPv4 by the view' };
  const flags = mbufs.flags(handle);
  return {
    'ip.src': formatIpv4(ip.source), 'ip.dst': parser.destination(0), 'ip.proto': String(parser.protocol(0)), 'ip.hdr_len': String(ip.length), 'ip.len': String(ip.totalLength),
    'ip.id': `0x${ip.identification.toString(16).padStart(4, '0')}`, 'ip.ttl': String(ip.ttl), 'ip.flags.df': bit(ip.dontFragment), 'ip.flags.mf': bit(ip.moreFragments), 'ip.frag_offset': String(ip.fragmentOffset / 8), // tshark has it as it stands
    'ip.checksum.status': flags & RX_IP_CKSUM_GOOD ? 'good' : flags & RX_IP_CKSUM_BAD ? 'bad' : 'unknown',
  };
}

function six(handle: number, at: number): Record<string, string> {
  if (!ip6.at(handle, at)) return { 'ipv6.src': 'no IPv6 by the view' };
  const fragment = { 'ipv6.fraghdr.offset': String(ip6.fragmentOffset), 'ipv6.fraghdr.more': bit(ip6.moreFragments), 'ipv6.fraghdr.ident': `0x${ip6.identification.toString(16).padStart(8, '0')}` };
  return {
    'ipv6.src': formatIpv6(mbufs.u8, ip6.start + 8), 'ipv6.dst': parser.destination(0), 'ipv6.nxt': String(ip6.nextHeader), 'ipv6.plen': String(ip6.payloadField), 'ipv6.hlim': String(ip6.hopLimit),
    'ipv6.flow': `0x${ip6.flowLabel.toString(16).padStart(6, '0')}`, ...(ip6.fragmentStart > 0 ? fragment : {}),
  };
}

function upper(handle: number): Record<string, string> {
  const [protocol, at] = [parser.protocol(0), mbufs.l2Len(handle) + mbufs.l3Len(handle)];
  const name = { 6: 'tcp', 17: 'udp', 33: 'dccp', 132: 'sctp' }[protocol];
  if (parser.family(0) === 0 || parser.isFragment(0)) return {};
  const flags = mbufs.flags(handle);
  const sum = flags & RX_L4_CKSUM_GOOD ? 'good' : flags & RX_L4_CKSUM_BAD ? 'bad' : 'unknown';
  if (protocol === 1) return { 'icmp.checksum.status': sum };
  if (protocol === 58) return { 'icmpv6.checksum.status': sum };
  if (name === undefined) return {};
  const ports = { [`${name}.srcport`]: String(parser.sourcePort(0)), [`${name}.dstport`]: String(parser.destinationPort(0)) };
  if (name === 'udp' && udp.at(handle, at)) return { ...ports, 'udp.length': String(udp.lengthField), 'udp.checksum.status': sum };
  if (name === 'tcp' && tcp.at(handle, at)) return { ...ports, 'tcp.hdr_len': String(tcp.length), 'tcp.seq_raw': String(tcp.sequence), 'tcp.ack_raw': String(tcp.acknowledgment), 'tcp.window_size_value': String(tcp.window), 'tcp.checksum.status': sum };
  return ports;
}

function bit(value: boolean): string {
  return value ? '1' : '0';
}

t.test('every packet of the captures', { skip: missing }, async t => {
  const frames = capturedFrames().filter(({ bytes }) => bytes.length <= 4096 - 256);
  const path = join(t.testdir({}), 'all.pcap');
  writeFileSync(path, writeCapture('pcap', frames));
  const lines = readByTshark(path);
  t.equal(lines.length, frames.length, `${frames.length} frames`);
  const differences: string[] = [];
  let [compared, exceptions] = [0, 0];
  const verdicts = new Map<string, number>();
  frames.forEach((frame, i) => {
    const line = lines[i]!;
    const mine = ours(handleOf(frame));
    const note = (field: string, text: string): void => {
      if (meant(field, line, frame)) exceptions++;
      else differences.push(`${frame.file} #${i + 1} (${line['frame.protocols']}, ${frame.bytes.length} of ${frame.length}): ${text}`);
    };
    for (const [field, value] of Object.entries(mine)) {
      const raw = line[field as keyof Line];
      const theirs = field.endsWith('.status') ? STATUS[raw] ?? 'unknown' : raw;
      if (field.endsWith('.status')) verdicts.set(`${field} ${theirs}`, (verdicts.get(`${field} ${theirs}`) ?? 0) + 1);
      if (theirs !== value) note(field, `${field} is ${value} here, ${theirs || 'nothing'} there`);
      compared++;
    }
    if (mine['ip.src'] === undefined && line['ip.src'] !== '' && mine['ipv6.src'] === undefined) note('ip.src', `IPv4 of ${line['ip.src']} not found`);
    if (mine['ipv6.src'] === undefined && line['ipv6.src'] !== '' && mine['ip.src'] === undefined) note('ipv6.src', `IPv6 of ${line['ipv6.src']} not found`);
  });
  t.same(differences, [], `${compared} fields`);
  t.ok(compared > 10_000 && exceptions < 6, `${exceptions} differences are meant`);
  for (const each of ['ip.checksum.status good', 'ip.checksum.status bad', 'tcp.checksum.status good', 'tcp.checksum.status bad', 'udp.checksum.status good', 'udp.checksum.status bad', 'icmp.checksum.status good', 'icmpv6.checksum.status good']) {
    t.ok((verdicts.get(each) ?? 0) > 0, `${each}: ${verdicts.get(each)} times`);
  }
});
