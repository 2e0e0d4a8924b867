import { PollmodeError } from '../../../errors.js';
import { macBytes } from '../../../kernel/address.js';
import { abstractAddress, unixAddress } from '../../../kernel/unix.js';
import { SECRET_BYTES } from './messages.js';

export interface MemifOptions {
  /** Path of the Unix socket, or its name. */
  readonly device: string;
  /** A server listens, and maps what its client shares; a client connects, and shares. Default client, as DPDK's. */
  readonly role?: 'server' | 'client';
  /** The device is a name in the abstract namespace (DPDK's socket-abstract). Default off. */
  readonly abstract?: boolean;
  /** Which interface of the socket: both ends must say the same. Default 0. */
  readonly id?: number;
  /** What a server's client must know, at most 24 bytes. */
  readonly secret?: string;
  /** In each direction. Default 1. */
  readonly queues?: number;
  /** Client: descriptors of a ring, as a power of two. Default 10. */
  readonly rsize?: number;
  /** Client: lets the server read and write the pool's buffers themselves, instead of buffers beside the rings. Default on. */
  readonly zeroCopy?: boolean;
  /** Client without zero copy: bytes of each buffer. Default 2048. */
  readonly bsize?: number;
  /** Server: room in the arena for the client's memory, in MiB. Address space only. Default 1024. */
  readonly clientMemory?: number;
  /** Bytes of the largest IP packet. Default 1500. */
  readonly mtu?: number;
  /** What the port says its address is; memif itself has none. */
  readonly mac?: string;
}

export interface MemifSettings extends Required<Omit<MemifOptions, 'mac' | 'secret'>> { readonly mac: string | undefined; readonly secret: string }

/** Throws EOPTION for options that the role does not have. */
export function settings(options: MemifOptions): MemifSettings {
  const { role = 'client', zeroCopy = role === 'client', mac, secret = '' } = options;
  socketAddress({ device: options.device, abstract: options.abstract ?? false });
  if (mac !== undefined) macBytes(mac);
  if (new TextEncoder().encode(secret).length > SECRET_BYTES) throw new PollmodeError('EOPTION', `memif: a secret has at most ${SECRET_BYTES} bytes: choose a shorter one.`);
  const no = (name: keyof MemifOptions, why: string): void => {
    if (options[name] !== undefined) throw new PollmodeError('EOPTION', `memif: ${why}: leave ${name.replace(/[A-Z]/, letter => `_${letter.toLowerCase()}`)} out.`);
  };
  if (role === 'server') for (const name of ['rsize', 'bsize', 'zeroCopy'] as const) no(name, 'rings and buffers are the client\'s to choose');
  else no('clientMemory', 'a client maps nobody\'s memory');
  if (role === 'client' && zeroCopy) no('bsize', 'with zero copy the buffers are the pool\'s');
  return { abstract: false, id: 0, queues: 1, rsize: 10, bsize: 2048, clientMemory: 1024, mtu: 1500, ...options, role, zeroCopy, mac: mac?.toLowerCase(), secret };
}

export function socketAddress({ device, abstract }: { readonly device: string; readonly abstract: boolean }): Uint8Array {
  return abstract ? abstractAddress(device) : unixAddress(device);
}

/** Bytes that an Ethernet header and a VLAN tag add to an IP packet. */
const OVERHEAD = 14 + 4;

export function longestFrame({ mtu }: { readonly mtu: number }): number {
  return mtu + OVERHEAD;
}
