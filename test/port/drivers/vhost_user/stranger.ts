/** A front-end that speaks vhost-user by the message, honest or not, and a vhost port for it to speak to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Memzone } from '../../../../lib/arena/directory.js';
import { binding } from '../../../../lib/binding.js';
import { concat, setU32 } from '../../../../lib/kernel/bytes.js';
import { MSG_DONTWAIT, SOCK_NONBLOCK, SOCK_STREAM } from '../../../../lib/kernel/constants.js';
import { unixAddress, unixSocket } from '../../../../lib/kernel/unix.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { VhostPort } from '../../../../lib/port/drivers/vhost/vhost.js';
import { queueZone } from '../../../../lib/port/queue_view.js';
import { VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF } from '../../../../lib/virtqueue/features.js';
import { VQ_AVAIL, VQ_DESC, VQ_INFLIGHT, VQ_READY, VQ_USED } from '../../../../lib/virtqueue/layout.js';
import { SHAPES, u64, writeAddress, writeInflight, writeTable, writeVring, type RequestName } from '../../../../lib/vhost_user/messages.js';

export const MEMORY = 1 << 20;
export const SIZE = 64;
export const FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF | VHOST_USER_F_PROTOCOL_FEATURES;

export interface Said { readonly name: RequestName; bytes: Uint8Array; fds: number[] }

export class Stranger {
  readonly fd = unixSocket(SOCK_STREAM | SOCK_NONBLOCK);

  constructor(path: string) {
    const result = binding().connect(this.fd, unixAddress(path));
    if (result < 0) throw new Error(`connect: ${result}`);
  }

  say({ bytes, fds }: Said): number {
    return binding().sendFds(this.fd, bytes, Int32Array.from(fds), MSG_DONTWAIT);
  }

  /** The bytes of what came, up to 64 KiB; its descriptors are closed. */
  hear(): Uint8Array {
    const [into, fds] = [new Uint8Array(65536), new Int32Array(16)];
    const got = binding().recvFds(this.fd, into, fds, MSG_DONTWAIT);
    for (const fd of fds) if (got >= 0 && fd >= 0) binding().close(fd);
    return into.subarray(0, Math.max(0, got));
  }

  close(): void {
    binding().close(this.fd);
  }
}

export function message(name: RequestName, payload: Uint8Array = new Uint8Array(), fds: number[] = [], flags = 1): Said {
  const header = new Uint8Array(12);
  [SHAPES[name].id, flags, payload.length].forEach((value, i) => setU32(header, i * 4, value));
  return { name, bytes: concat([header, payload]), fds };
}

/** Files that a front-end has: its memory and its eventfds. */
export class Files {
  readonly memory = binding().memfd('guest', MEMORY, 0);
  readonly events = Array.from({ length: 4 }, () => binding().eventfd(0, 0x800));

  close(): void {
    for (const fd of [this.memory, ...this.events]) binding().close(fd);
  }
}

/** All that a front-end says until its rings run, and a little after. */
export function handshake(files: Files, features: bigint): Said[] {
  const region = { guest: 0n, user: 0x7f0000000000n, bytes: BigInt(MEMORY), fileOffset: 0n };
  const ring = (index: number): Said[] => {
    const at = region.user + BigInt(index * 16384);
    return [
      message('SET_VRING_NUM', writeVring({ index, value: SIZE })), message('SET_VRING_BASE', writeVring({ index, value: 0 })),
      message('SET_VRING_ADDR', writeAddress({ index, flags: 0, desc: at, avail: at + 4096n, used: at + 8192n })),
      message('SET_VRING_CALL', u64(BigInt(index)), [files.events[index * 2]!]), message('SET_VRING_KICK', u64(BigInt(index)), [files.events[index * 2 + 1]!]),
      message('SET_VRING_ENABLE', writeVring({ index, value: 1 })),
    ];
  };
  return [
    message('GET_FEATURES'), message('GET_PROTOCOL_FEATURES'), message('SET_PROTOCOL_FEATURES', u64(0x9009n)), message('GET_QUEUE_NUM'), message('SET_OWNER'),
    message('SET_FEATURES', u64(features)), message('GET_INFLIGHT_FD', writeInflight({ bytes: 0n, fileOffset: 0n, queues: 2, queueSize: SIZE })),
    message('SET_MEM_TABLE', writeTable([region]), [files.memory]), ...ring(0), ...ring(1),
    message('ADD_MEM_REG', concat([u64(0n), writeTable([{ ...region, guest: 1n << 32n, user: 0x7e0000000000n, bytes: 65536n }]).subarray(8)]), [files.memory], 9),
    message('GET_MAX_MEM_SLOTS'), message('REM_MEM_REG', concat([u64(0n), writeTable([{ ...region, guest: 1n << 32n, user: 0x7e0000000000n, bytes: 65536n }]).subarray(8)]), [], 9),
    message('SET_VRING_NUM', writeVring({ index: 0, value: 77 }), [], 9), message('GET_VRING_BASE', writeVring({ index: 0, value: 0 })),
  ];
}

export interface Stage { readonly host: Host; readonly port: VhostPort; readonly path: string; readonly files: Files; /** Offsets of the first pair of queues. */ readonly queues: Readonly<Record<'rx' | 'tx', number>>; close(): void }

export function stage(): Stage {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-vhost-'));
  const path = join(folder, 's');
  const host = open([`vhost:${path},guest_memory=8`], { mbufs: 512 });
  const files = new Files();
  const place = (direction: 'rx' | 'tx'): number => host.arena.find(queueZone(0, direction, 0)).offset;
  return {
    host, path, files, port: host.ports[0] as VhostPort, queues: { rx: place('rx'), tx: place('tx') },
    close() {
      host.close();
      files.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Says it, gives the port its turn, and hears the answer's payload; undefined for none. */
export function ask({ port }: Stage, stranger: Stranger, said: Said): Uint8Array | undefined {
  stranger.say(said);
  port.control.service();
  const answer = stranger.hear();
  return answer.length >= 12 ? answer.subarray(12) : undefined;
}

/** What of the first pair of queues stands where nothing of the front-end's is mapped any more, while it runs; '' for nothing. */
export function astray({ host: { arena }, queues }: Stage): string {
  let zones: readonly Memzone[] | undefined; // only looked up where a ring runs, since this is asked after each message
  const inside = (kind: string, at: number): boolean => (zones ??= arena.zones()).some(({ name, offset, length }) => name.includes(`/vhost/${kind}/`) && at >= offset && at < offset + length);
  for (const direction of ['rx', 'tx'] as const) {
    const get = (field: number): number => arena.u32[(queues[direction] + field) >>> 2]!;
    if (get(VQ_READY) === 0) continue;
    for (const [part, field] of [['descriptors', VQ_DESC], ['available ring', VQ_AVAIL], ['used ring', VQ_USED]] as const) if (!inside('guest', get(field))) return `${direction}: ${part}`;
    if (get(VQ_INFLIGHT) !== 0 && !inside('inflight', get(VQ_INFLIGHT))) return `${direction}: in-flight memory`;
  }
  return '';
}
