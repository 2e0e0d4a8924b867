/** A NIC with several queues and RSS, and Linux's own that sends to it: what the tests of both share. */
import { binding } from '../../../lib/binding.js';
import { macBytes } from '../../../lib/kernel/address.js';
import { AF_PACKET, ETH_P_ALL, SOCK_RAW } from '../../../lib/kernel/constants.js';
import { check } from '../../../lib/kernel/errno.js';
import { listLinks, setLink, type Link } from '../../../lib/kernel/link.js';
import { checksum } from '../../port/drivers/kernel_helper.js';
import { frameOf } from '../../rss/frames_helper.js';
import { flowOf } from '../../rss/order_generator.js';
import { multiQueue } from '../devices.js';
import { peerOf } from './wire.js';

/** Behind Ethernet, IPv4 and UDP headers. */
const PAYLOAD = 42;
const FRAME = 60;

/** The NIC, up. */
export function nic(): Link {
  const link = listLinks().find(each => each.mac === multiQueue.mac);
  if (link === undefined) throw new Error(`Linux has no interface ${multiQueue.mac}`);
  setLink(link.ifindex, { up: true });
  return link;
}

/** A raw socket on Linux's end. */
export class Sender {
  readonly #fd: number;

  constructor() {
    const { ifindex } = peerOf(multiQueue);
    this.#fd = check(binding().socket(AF_PACKET, SOCK_RAW, 0), 'socket');
    const address = new Uint8Array(20); // struct sockaddr_ll
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL);
    view.setInt32(4, ifindex, true);
    check(binding().bind(this.#fd, address), 'bind');
  }

  /** The next frame of a flow, a real one of IPv4 and UDP. Returns whether the kernel took it. */
  send(flow: number, number: number): boolean {
    const bytes = new Uint8Array(FRAME);
    bytes.set(frameOf({ ...flowOf(flow), tags: 0, extensions: [], fragment: false }).subarray(0, FRAME));
    bytes.set([...macBytes(multiQueue.mac), ...macBytes(multiQueue.peerMac)]);
    const view = new DataView(bytes.buffer);
    view.setUint16(24, checksum(view, 14, 20)); // a bridge looks at it (br_validate_ipv4)
    view.setUint32(PAYLOAD, flow);
    view.setUint32(PAYLOAD + 4, number);
    return binding().send(this.#fd, bytes, 0) === FRAME;
  }

  close(): void {
    binding().close(this.#fd);
  }
}

/** Flow and number of a frame of ours; undefined for any other. */
export function readFrame(bytes: Uint8Array): { readonly flow: number; readonly number: number } | undefined {
  if (bytes.length < PAYLOAD + 8 || !macBytes(multiQueue.peerMac).every((byte, i) => bytes[6 + i] === byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { flow: view.getUint32(PAYLOAD), number: view.getUint32(PAYLOAD + 4) };
}
