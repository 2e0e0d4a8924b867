import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { freeLocation, isNtuple, readNtuple, readNtupleTable } from '../../lib/kernel/ntuple.js';
import { addressBytes } from '../../lib/address.js';
import { setU64 } from '../../lib/kernel/bytes.js';
import { specOf } from '../../lib/port/drivers/af_xdp/ntuple_spec.js';
import type { AddressPrefix, PortFlowRule } from '../../lib/port/flow_rules.js';
import { codeThrown, needs } from './rights.js';

const prefix = (text: string, length: number): AddressPrefix => ({ bytes: Uint8Array.from(addressBytes(text)), length });
const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);

/** Rules beside the lines of C that write the same with the kernel's own header. */
const CASES: readonly (readonly [PortFlowRule, string])[] = [
  [{ match: { etherType: 0x88f7 }, to: 3 }, 's.flow_type = ETHER_FLOW; s.h_u.ether_spec.h_proto = htons(0x88f7); s.m_u.ether_spec.h_proto = 0xffff; s.ring_cookie = 5;'],
  [{ match: { destinationMac: mac, vlan: 10 }, to: 'drop' }, 's.flow_type = ETHER_FLOW | FLOW_EXT; memcpy(s.h_u.ether_spec.h_dest, "\\2\\0\\0\\0\\0\\1", 6); memset(s.m_u.ether_spec.h_dest, 255, 6); s.h_ext.vlan_tci = htons(10); s.m_ext.vlan_tci = htons(0xfff); s.ring_cookie = RX_CLS_FLOW_DISC;'],
  [{ match: { sourceMac: mac }, to: 0 }, 's.flow_type = ETHER_FLOW; memcpy(s.h_u.ether_spec.h_source, "\\2\\0\\0\\0\\0\\1", 6); memset(s.m_u.ether_spec.h_source, 255, 6); s.ring_cookie = 2;'],
  [{ match: { source: prefix('10.1.2.3', 12), destination: prefix('10.9.8.7', 32), protocol: 17, sourcePort: 53, destinationPort: 1024 }, to: 0 },
    's.flow_type = UDP_V4_FLOW; s.h_u.udp_ip4_spec.ip4src = htonl(0x0a000000); s.m_u.udp_ip4_spec.ip4src = htonl(0xfff00000); s.h_u.udp_ip4_spec.ip4dst = htonl(0x0a090807); s.m_u.udp_ip4_spec.ip4dst = ~0; s.h_u.udp_ip4_spec.psrc = htons(53); s.m_u.udp_ip4_spec.psrc = 0xffff; s.h_u.udp_ip4_spec.pdst = htons(1024); s.m_u.udp_ip4_spec.pdst = 0xffff; s.ring_cookie = 2;'],
  [{ match: { etherType: 0x800, protocol: 6, destinationPort: 80, vlan: 0 }, to: 0 }, 's.flow_type = TCP_V4_FLOW | FLOW_EXT; s.h_u.tcp_ip4_spec.pdst = htons(80); s.m_u.tcp_ip4_spec.pdst = 0xffff; s.m_ext.vlan_tci = htons(0xfff); s.ring_cookie = 2;'],
  [{ match: { source: prefix('10.1.2.3', 32), protocol: 1 }, to: 0 }, 's.flow_type = IP_USER_FLOW; s.h_u.usr_ip4_spec.ip4src = htonl(0x0a010203); s.m_u.usr_ip4_spec.ip4src = ~0; s.h_u.usr_ip4_spec.ip_ver = ETH_RX_NFC_IP4; s.h_u.usr_ip4_spec.proto = 1; s.m_u.usr_ip4_spec.proto = 255; s.ring_cookie = 2;'],
  [{ match: { destination: prefix('2001:db8::1', 33), protocol: 132, sourcePort: 7 }, to: 0 },
    's.flow_type = SCTP_V6_FLOW; s.h_u.sctp_ip6_spec.ip6dst[0] = htonl(0x20010db8); s.m_u.sctp_ip6_spec.ip6dst[0] = ~0; s.m_u.sctp_ip6_spec.ip6dst[1] = htonl(0x80000000); s.h_u.sctp_ip6_spec.psrc = htons(7); s.m_u.sctp_ip6_spec.psrc = 0xffff; s.ring_cookie = 2;'],
  [{ match: { source: prefix('fe80::1', 128), protocol: 58 }, to: 0 }, 's.flow_type = IPV6_USER_FLOW; s.h_u.usr_ip6_spec.ip6src[0] = htonl(0xfe800000); s.h_u.usr_ip6_spec.ip6src[3] = htonl(1); memset(s.m_u.usr_ip6_spec.ip6src, 255, 16); s.h_u.usr_ip6_spec.l4_proto = 58; s.m_u.usr_ip6_spec.l4_proto = 255; s.ring_cookie = 2;'],
];

t.test('rules as n-tuples: the bytes that a C compiler makes of the kernel\'s header', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-ntuple-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const body = CASES.map(([, lines]) => `{ struct ethtool_rx_flow_spec s; memset(&s, 0, sizeof s); ${lines} for (unsigned i = 0; i < sizeof s; i++) printf("%02x", ((unsigned char *)&s)[i]); printf("\\n"); }`).join('\n');
  writeFileSync(join(folder, 'specs.c'), `#include <arpa/inet.h>\n#include <linux/ethtool.h>\n#include <stdio.h>\n#include <string.h>\nint main(void) {\n${body}\nreturn 0; }\n`);
  execFileSync('cc', ['-o', join(folder, 'specs'), join(folder, 'specs.c')]);
  const lines = execFileSync(join(folder, 'specs'), { encoding: 'utf8' }).trim().split('\n');
  CASES.forEach(([rule], index) => t.equal(Buffer.from(specOf(rule, 2) as Uint8Array).toString('hex'), lines[index], JSON.stringify(rule.match)));
});

t.test('what an n-tuple has no words for', async t => {
  t.match(specOf({ match: { destinationMac: mac, source: prefix('10.0.0.1', 8) }, to: 0 }, 0), /MAC addresses or about IP/);
  t.match(specOf({ match: { protocol: 6 }, to: 0 }, 0), /IPv4 or IPv6/);
});

t.test('a rule that is told back is the one that was given, if what counts is the same', async t => {
  const [given, told] = [0, 1].map(() => specOf({ match: { source: prefix('10.1.0.0', 16), protocol: 17 }, to: 'drop' }, 0) as Uint8Array) as [Uint8Array, Uint8Array];
  t.ok(isNtuple(told, given));
  told[4 + 3] = 9;
  t.ok(isNtuple(told, given), 'a bit that does not count');
  told[4] = 9;
  t.notOk(isNtuple(told, given));
  told.set(given);
  told[0] = 1;
  t.notOk(isNtuple(told, given), 'another type');
  told.set(given);
  setU64(told, 152, 1n);
  t.notOk(isNtuple(told, given), 'another action');
});

t.test('places: the last that is free, or the driver\'s choice', async t => {
  t.equal(freeLocation('eth0', { taken: [15, 13], size: 16, choosesPlace: false }), 14);
  t.equal(freeLocation('eth0', { taken: [], size: 0, choosesPlace: true }), undefined);
  t.equal(codeThrown(() => freeLocation('eth0', { taken: [0, 1], size: 2, choosesPlace: false })), 'EUNSUPPORTED');
});

t.test('an interface without such rules says so', needs(), async t => {
  t.equal(codeThrown(() => readNtupleTable('lo')), 'EUNSUPPORTED');
  t.equal(codeThrown(() => readNtuple('lo', 0)), 'EUNSUPPORTED');
  t.equal(codeThrown(() => readNtupleTable('no-such')), 'ENOTFOUND');
});
