/** The af_packet driver's ports from opening to closing: what each leaves, refused, closed or killed. */
import { once } from 'node:events';
import t from 'tap';
import { binding } from '../../../../lib/binding.js';
import { O_RDWR } from '../../../../lib/kernel/constants.js';
import { setLink } from '../../../../lib/kernel/link.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { openLab } from '../../../../lib/lab/veth.js';
import { open } from '../../../../lib/port/host.js';
import { codeThrown } from '../../../kernel/rights.js';
import { inChild } from '../../../native/child.js';
import { frame, packetSockets, promiscuity, sendAll, statsOf } from '../kernel_helper.js';
import { closeAndAudit, device, rights } from './helper.js';
import { sendingChild } from '../sender_child.js';

t.test('promiscuous for as long as the port is open', rights, async t => {
  const lab = openLab();
  const host = open([device(lab.a, 'promiscuous=1')]);
  t.equal(promiscuity(lab.a), 1);
  closeAndAudit(t, host);
  t.equal(promiscuity(lab.a), 0);
  lab.close();
});

t.test('close: sockets gone, counts kept, bursts counted', rights, async t => {
  const lab = openLab();
  const host = open([device(lab.a, 'queues=2')]);
  const [port] = host.ports;
  t.equal(packetSockets(lab.a.netns), 4);
  const burst = host.burst();
  sendAll(host, port!, [frame(lab.a, lab.b, 1, 60)], 1);
  host.pool.alloc(burst, 4);
  port!.close();
  port!.close();
  t.equal(packetSockets(lab.a.netns), 0);
  t.equal(port!.tx[0]!.txBurst(burst, 4), 0);
  t.equal(port!.rx[1]!.rxBurst(burst), 0);
  t.match(statsOf(port!), { txPackets: 1, xstats: { tx_after_close: 1, rx_after_close: 1 } });
  host.pool.free(burst, 0, 4);
  t.equal(host.arena.zones().filter(zone => zone.name.startsWith('port/')).length, 0, 'no zone is left');
  closeAndAudit(t, host);
  lab.close();
});

t.test('what cannot be opened says why, and leaves nothing', rights, async t => {
  const lab = openLab();
  const refused = (options: string, end = lab.a): string => codeThrown(() => open([device(end, options)]).close());
  t.equal(refused('', { ...lab.a, name: 'nothere' }), 'ENOTFOUND');
  t.equal(refused('block_size=5000'), 'EOPTION');
  t.equal(refused('tx_ring=100'), 'EOPTION');
  t.equal(refused('block_size=4194304,rx_blocks=65536'), 'EOPTION');
  t.equal(refused('block_size=1048576,rx_blocks=512'), 'EARENAFULL', 'a ring larger than the arena');
  t.equal(refused('fanout_mode=best'), 'EDEVICE');
  const member = open([device(lab.a, 'fanout=3,fanout_mode=cpu')]);
  t.equal(refused('fanout=3,fanout_mode=hash'), 'EOPTION', 'a group with another mode');
  member.close();
  t.equal(codeThrown(() => open([`af_packet:${lab.a.name},netns=/nowhere`])), 'ENOTFOUND');
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: false }));
  t.equal(refused(''), 'EDOWN');
  t.equal(packetSockets(lab.a.netns), 0);
  lab.close();
});

t.test('an interface without Ethernet is refused', rights, async t => {
  const lab = openLab();
  const tun = withNetns(lab.a.netns, () => {
    const fd = binding().open('/dev/net/tun', O_RDWR);
    const request = new Uint8Array(40); // struct ifreq: IFF_TUN | IFF_NO_PI
    request.set([...new TextEncoder().encode('tun7')]);
    request.set([0x01, 0x10], 16);
    t.equal(binding().ioctl(fd, 0x400454ca, request), 0);
    return fd;
  });
  withNetns(lab.a.netns, () => {
    const ifindex = lab.a.ifindex + 1;
    t.equal(codeThrown(() => setLink(ifindex, { up: true })), 'none');
    t.equal(codeThrown(() => open(['af_packet:tun7'])), 'EUNSUPPORTED');
  });
  binding().close(tun);
  lab.close();
});

t.test('without CAP_NET_RAW: a typed error that names it', rights, async t => {
  const code = 'const { open } = await import(LIB + "port/host.js"); try { open(["af_packet:lo"]).close(); console.log("opened"); } catch (error) { console.log(error.code, error.message); }';
  const { stdout } = inChild(code, ['setpriv', '--bounding-set', '-net_raw', '--inh-caps', '-net_raw']);
  t.match(stdout, /^ERIGHTS .*CAP_NET_RAW/);
});

t.test('kill -9 during traffic leaves nothing', rights, async t => {
  const lab = openLab();
  const child = sendingChild(`af_packet:${lab.a.name},promiscuous=1,queues=2,netns=/proc/${process.pid}/fd/${lab.a.netns}`);
  await once(child.stdout!, 'data');
  t.equal(promiscuity(lab.a), 2);
  t.equal(packetSockets(lab.a.netns), 4);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.equal(promiscuity(lab.a), 0);
  t.equal(packetSockets(lab.a.netns), 0);
  lab.close();
});
