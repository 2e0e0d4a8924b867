import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Arena } from '../../../lib/arena/arena.js';
import { open, type OpenOptions } from '../../../lib/port/host.js';
import { escapeValue } from '../device_helper.js';
import type { Place } from './subject.js';
import { conformance } from './suite.js';
import { receiveBy, sendBy } from './wires.js';

// A file is written by one port and read by another; what both get wrong alike is for the tests of the formats to find.
conformance(t, {
  driver: 'pcap',
  carries: true,
  shortest: 0,
  longest: room => room,
  chains: 'carried',
  jumboReceived: false, // nor is a larger frame than a buffer takes, unless max_frame= asks for it
  refusals: {},
  takesMbufs: true,
  losses: [],
  fills: false,
  refused: [
    ['pcap:', 'EOPTION'], ['pcap:/nonesuch/in.pcap', 'ENOTFOUND'], ['pcap:,tx=/nonesuch/out.pcap', 'ENOTFOUND'],
    ['pcap:/', 'EOPTION'], ['pcap:/dev/null', 'EUNSUPPORTED'], ['pcap:/nonesuch,rate=1,pace', 'EOPTION'],
  ],
  place: files,
});

function files(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-'));
  const [input, output] = [join(folder, 'in.pcap'), join(folder, 'out.pcap')];
  const helper = { arena: Arena.create({ size: 32 << 20 }), mbufs: 1024 };
  const device = `pcap:${escapeValue(input)},tx=${escapeValue(output)}`;
  write(input, [], helper);
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }) {
      write(input, incoming, helper);
      const host = open([device], options);
      let departed: Uint8Array[] | undefined;
      return {
        host,
        port: host.ports[0]!,
        departed() {
          if (departed !== undefined) return [];
          host.ports[0]!.close();
          return departed = read(output, helper);
        },
        close: () => host.close(),
      };
    },
    close() {
      helper.arena.close();
      rmSync(folder, { recursive: true });
    },
  };
}

function write(path: string, frames: readonly Uint8Array[], options: OpenOptions): void {
  const host = open([`pcap:,tx=${escapeValue(path)}`], options);
  sendBy(host, host.ports[0]!, frames);
  host.close();
}

function read(path: string, options: OpenOptions): Uint8Array[] {
  const host = open([`pcap:${escapeValue(path)},max_frame=9022`], options); // jumbo frames too
  const frames = receiveBy(host, host.ports[0]!);
  host.close();
  return frames;
}
