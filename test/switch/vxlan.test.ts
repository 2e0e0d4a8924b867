/** Tunnels between two switches, and what comes to one that no tunnel sent. */
import t from 'tap';
import { SwitchLab, frame } from './lab_helper.js';

const [A, B] = [0x020000000001, 0x020000000002];

/** Two hosts: br0 of each has a station and the tunnel, whose ends are stations of one underlay bridge. */
function twoHosts(more: object = {}): SwitchLab {
  const tunnel = (local: string, remote: string) => ({ vxlan: { vni: 7, local, remotes: [remote], underlay: { bridge: 'under' } }, ...more });
  return new SwitchLab({
    left: { ports: { a: {}, tun: tunnel('10.0.0.1', '10.0.0.2') } },
    right: { ports: { b: {}, tun: tunnel('10.0.0.2', '10.0.0.1') } },
    under: { ports: { tap: {} } },
  });
}

t.test('frames pass a tunnel both ways, once ARP has answered', t => {
  const lab = twoHosts();
  const there = frame({ to: B, from: A, length: 200 });
  t.match(lab.exchange('a', there), { b: [there] });
  const back = frame({ to: A, from: B });
  t.same(lab.exchange('b', back, back), { a: [back, back] });
  t.same(lab.exchange('a', there, there), { b: [there, there] });
  t.match(lab.sw.fdb('right').find(entry => entry.port === 'tun'), { mac: '02:00:00:00:00:01', remote: '10.0.0.1' });
  t.same(lab.sw.ports().filter(port => port.kind === 'vxlan').map(port => [port.rx.packets, port.tx.packets]), [[2, 3], [3, 2]]);
  t.equal(lab.out, 0);
  lab.close();
  t.end();
});
