/**
 * Flow rules as n-tuple filters under an AF_XDP port. No NIC of a lab takes such rules (a veth has none, and Linux's igb
 * has them from the i350 on, where QEMU has an 82576), so the kernel's side of it is a model in C, preloaded
 * (ntuple_nic.c), before a real veth. What the rules say is read by the ethtool program.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { featureNumber } from '../../../../lib/kernel/ethtool.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { openLab, type Lab } from '../../../../lib/lab/veth.js';
import { scratch, type Scratch } from '../../../journal/note_helper.js';
import { inChild, type Ended } from '../../../native/child.js';
import { rights } from './helper.js';

const SOURCE = fileURLToPath(new URL('../../../../../test/port/drivers/af_xdp/ntuple_nic.c', import.meta.url));
/** In a child: a port of the veth's two queues, a table with these rules in front of it, and what ran where. */
const CHILD = `
  const { open } = await import(LIB + 'port/host.js');
  const { NicOffload } = await import(LIB + 'flow/nic.js');
  const { FlowTable } = await import(LIB + 'flow/table.js');
  const host = open(['af_xdp:veth0,queues=2']);
  const offload = NicOffload.create(host.ports[0], { firstFragments: true });
  const table = new FlowTable(host.pool, { queues: 2, offload });
  const ran = rules => { table.replace(rules.map((rule, i) => ({ name: 'r' + i, ...rule }))); return table.query().rules.map(({ ran, why }) => why ?? ran).join(' | '); };
  const drop = [{ do: 'drop' }], second = [{ do: 'queue', queue: 1 }];`;

interface Bench { readonly lab: Lab; readonly of: Scratch; child(code: string, more?: Record<string, string>): Ended; ethtool(...words: string[]): string; on(): boolean }

function bench(t: Test, size: number, more: Record<string, string> = {}): Bench {
  const [lab, of] = [openLab({ queues: 2 }), scratch()];
  t.teardown(() => { lab.close(); of.remove(); });
  const library = of.file('nic.so');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, SOURCE, '-ldl']);
  // The sanitizers' libraries want to be the first.
  const preload = [process.env['LD_PRELOAD'], library].filter(Boolean).join(':');
  const bit = withNetns(lab.a.netns, () => featureNumber('veth0', 'rx-ntuple-filter').index);
  const environment = { POLLMODE_RUN_DIR: of.run, LD_PRELOAD: preload, NTUPLE_LINK: 'veth0', NTUPLE_FILE: of.file('nic'), NTUPLE_SIZE: String(size), NTUPLE_BIT: String(bit), LC_ALL: 'C', ...more };
  const within = <T>(work: () => T): T => withNetns(lab.a.netns, work);
  const ethtool = (...words: string[]): string => {
    const { stdout, stderr } = within(() => spawnSync('ethtool', words, { encoding: 'utf8', env: { ...process.env, ...environment } }));
    return stdout + stderr;
  };
  return { lab, of, ethtool, child: (code, extra = {}) => within(() => inChild(`${CHILD}${code}`, [], { ...environment, ...extra })), on: () => /rx-ntuple-filter: on/.test(within(() => inChild('const { readFeatures } = await import(LIB + "kernel/ethtool.js"); console.log("rx-ntuple-filter:", readFeatures("veth0").get("rx-ntuple-filter").active ? "on" : "off")', [], environment).stdout)) };
}

t.test('rules that the driver takes are its own, by ethtool\'s word, and gone at close, with the switch put back', rights, async t => {
  const { child, ethtool, on, of } = bench(t, 16);
  t.notOk(on());
  const { stdout, stderr } = child(`
    const { spawnSync } = await import('node:child_process');
    console.log(ran([{ match: { vlan: 7 }, actions: drop }]));
    spawnSync('ethtool', ['-K', 'veth0', 'rxvlan', 'off']);
    console.log(ran([
      { match: { etherType: 0x88f7 }, actions: second }, { match: { source: '10.1.0.0/16', destination: '192.0.2.1', protocol: 'udp', destinationPort: 53 }, actions: drop },
      { match: { source: '2001:db8::/32', protocol: 'tcp', sourcePort: 179 }, actions: drop }, { match: { destinationMac: '02:00:00:00:00:77', etherType: 0x88cc }, actions: drop },
      { match: { etherType: 0x800, protocol: 'icmp' }, actions: drop }, { match: { destination: '10.2.0.0/16', sourceMac: '02:00:00:00:00:01' }, actions: drop },
      { match: { etherType: 0x806, vlan: 7 }, actions: drop },
    ]));
    console.log(spawnSync('ethtool', ['-n', 'veth0'], { encoding: 'utf8' }).stdout);
    table.replace([{ name: 'r0', match: { etherType: 0x88f7 }, actions: second }]);
    console.log('left:', spawnSync('ethtool', ['-n', 'veth0'], { encoding: 'utf8' }).stdout.split('\\n').filter(line => /^Filter/.test(line)).join());
    offload.close(); table.close(); host.close();`);
  t.equal(stderr, '');
  t.match(stdout, /^ethtool n-tuple: the NIC takes VLAN tags out of what it receives, so that only it would see them: ethtool -K veth0 rxvlan off\n/);
  t.match(stdout, /\nethtool n-tuple \| ethtool n-tuple \| ethtool n-tuple \| ethtool n-tuple \| ethtool n-tuple \| ethtool n-tuple: an n-tuple rule is about MAC addresses or about IP, not both \| ethtool n-tuple\n/);
  t.match(stdout, /Total 6 rules/);
  t.match(stdout, /Filter: 15\n\tFlow Type: Raw Ethernet\n\tSrc MAC addr: 00:00:00:00:00:00 mask: FF:FF:FF:FF:FF:FF\n\tDest MAC addr: 00:00:00:00:00:00 mask: FF:FF:FF:FF:FF:FF\n\tEthertype: 0x88F7 mask: 0x0\n\tAction: Direct to queue 1/);
  t.match(stdout, /Filter: 14\n\tRule Type: UDP over IPv4\n\tSrc IP addr: 10.1.0.0 mask: 0.0.255.255\n\tDest IP addr: 192.0.2.1 mask: 0.0.0.0\n[^]*?\tSrc port: 0 mask: 0xffff\n\tDest port: 53 mask: 0x0\n\tAction: Drop/);
  t.match(stdout, /Filter: 13\n\tRule Type: TCP over IPv6\n\tSrc IP addr: 2001:db8:: mask: ::ffff:ffff:ffff:ffff:ffff:ffff\n[^]*?\tSrc port: 179 mask: 0x0\n/);
  t.match(stdout, /Filter: 12\n[^]*?Dest MAC addr: 02:00:00:00:00:77 mask: 00:00:00:00:00:00\n\tEthertype: 0x88CC mask: 0x0\n/);
  t.match(stdout, /Filter: 11\n\tRule Type: Raw IPv4\n[^]*?Protocol: 1 mask: 0x0\n/);
  t.match(stdout, /Filter: 10\n[^]*?Ethertype: 0x806 mask: 0x0\n[^]*?VLAN: 0x7 mask: 0xf000\n/);
  t.match(stdout, /left: Filter: 15\n/);
  t.match(ethtool('-n', 'veth0'), /Total 0 rules/);
  t.notOk(on(), 'the switch is off again');
  t.notOk(existsSync(of.run));
});

t.test('what the driver has no room for, or no words, runs in software, and says so', rights, async t => {
  const { child, ethtool } = bench(t, 2);
  t.match(ethtool('-K', 'veth0', 'ntuple', 'on'), /^(Actual changes:[^]*)?$/);
  const { stdout, stderr } = child('console.log(ran([1, 2, 3].map(i => ({ match: { etherType: 0x9000 + i }, actions: drop })))); host.close();');
  t.equal(stderr, '');
  t.match(stdout, /^ethtool n-tuple \| ethtool n-tuple \| ethtool n-tuple: veth0: all 2 places for n-tuple rules are taken/);
  t.match(ethtool('-n', 'veth0'), /Total 0 rules/, 'closing the port takes all away');
});

for (const chooses of ['0', '1']) {
  t.test(`kill -9: the next start takes the rules away, leaves others alone, and puts the switch back${chooses === '1' ? '; where the driver chooses the place' : ''}`, rights, async t => {
    const { child, ethtool, on, of } = bench(t, 16, { NTUPLE_CHOOSES: chooses });
    const dead = child('console.log(ran([0x88f7, 0x88f8, 0x88f9].map(etherType => ({ match: { etherType }, actions: second })))); process.kill(process.pid, "SIGKILL");');
    t.equal(dead.stdout, 'ethtool n-tuple | ethtool n-tuple | ethtool n-tuple\n', dead.stderr);
    t.match(ethtool('-n', 'veth0'), /Total 3 rules/, 'the NIC keeps what a dead process set');
    t.ok(on());
    const [first, place] = chooses === '1' ? [0, []] : [15, ['loc', '15']];
    // Another rule is where ours was.
    ethtool('-N', 'veth0', 'delete', String(first));
    ethtool('-N', 'veth0', 'flow-type', 'ether', 'proto', '0x88e5', 'action', '0', ...place);
    const next = child('console.log(ran([])); host.close();');
    t.equal(next.stdout, '\n', next.stderr);
    t.match(ethtool('-n', 'veth0'), /Total 1 rules[^]*Ethertype: 0x88E5/);
    t.notOk(on());
    t.notOk(existsSync(of.run), 'nothing is left in the journal');
  });
}

t.test('an interface that was deleted and is back gets its rules again, or the query says why not', rights, async t => {
  const { child } = bench(t, 2);
  const { stdout, stderr } = child(`
    const { spawnSync } = await import('node:child_process');
    const { setTimeout: sleep } = await import('node:timers/promises');
    const { rmSync } = await import('node:fs');
    const ip = line => { const { status, stderr } = spawnSync('ip', line.split(' '), { encoding: 'utf8' }); if (status !== 0) console.log(line, stderr); };
    const places = () => /Total \\d+ rules/.exec(spawnSync('ethtool', ['-n', 'veth0'], { encoding: 'utf8' }).stdout)?.[0];
    const events = [];
    host.ports[0].onEvent(({ kind }) => events.push(kind));
    console.log(ran([{ match: { etherType: 0x88f7 }, actions: drop }, { match: { etherType: 0x88f8 }, actions: drop }]), places());
    ip('link delete veth0');
    rmSync(process.env.NTUPLE_FILE);
    process.env.NTUPLE_SIZE = '1';
    ip('link add veth0 numrxqueues 2 numtxqueues 2 type veth peer name peer0');
    ip('link set veth0 up'); ip('link set peer0 up');
    for (let i = 0; i < 1200 && !events.includes('back'); i++) await sleep(50);
    console.log(events.filter(kind => kind === 'gone' || kind === 'back').join(), places(), table.query().rules.map(({ ran, why }) => why ?? ran).join(' | '));
    host.close();
    console.log(places());`);
  t.equal(stderr, '');
  t.match(stdout.split('\n'), ['ethtool n-tuple | ethtool n-tuple Total 2 rules', /^gone,back Total 1 rules ethtool n-tuple \| ethtool n-tuple: veth0: all 1 places/, 'Total 0 rules']);
});
