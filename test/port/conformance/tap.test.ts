import { writeFileSync } from 'node:fs';
import t from 'tap';
import { binding } from '../../../lib/binding.js';
import { readLink, setLink } from '../../../lib/kernel/link.js';
import { createNetns, withNetns } from '../../../lib/kernel/netns.js';
import { open } from '../../../lib/port/host.js';
import { needs } from '../../kernel/rights.js';
import type { Place } from './subject.js';
import { conformance } from './suite.js';
import { RawWire, rigWithWire } from './wires.js';

const DEVICE = 'tap:tap0';

// The other end is the kernel: a raw socket on the interface, in a namespace of its own.
conformance(t, {
  driver: 'tap',
  needs: needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW'),
  carries: true,
  shortest: 14,
  longest: room => Math.min(room, 1514),
  chains: 'carried',
  jumbo: () => namespace(',mtu=9000'),
  refusals: { short: 'tx_bad_frame' },
  takesMbufs: true,
  losses: [],
  fills: false, // a frame is the kernel's when write(2) returns
  refused: [['tap:a-name-that-is-too-long', 'EOPTION'], ['tap:a/b', 'EOPTION']],
  place: () => namespace(''),
});

function namespace(options: string): Place {
  const device = `${DEVICE}${options}`;
  const netns = createNetns();
  const within = <T>(work: () => T): T => withNetns(netns, work);
  // Otherwise the kernel's own announcements come between.
  within(() => writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1\n'));
  return {
    device,
    within,
    open({ options, incoming }) {
      const { host, wire } = within(() => {
        const host = open([device], options);
        const { ifindex, up } = readLink('tap0');
        if (!up) setLink(ifindex, { up: true });
        return { host, wire: new RawWire(ifindex) };
      });
      return rigWithWire(host, wire, incoming);
    },
    close: () => { binding().close(netns); },
  };
}
