/**
 * A front-end that keeps its driver running while back-ends come and go, as QEMU does: it stands between a virtio_user
 * port and the back-end, passes on what is said, remembers it, and says it again to the next back-end, with the in-flight
 * memory that the first one gave. The driver's rings and buffers stay as they were.
 */
import { binding } from '../../../../lib/binding.js';
import { getU64 } from '../../../../lib/kernel/bytes.js';
import { SOCK_NONBLOCK, SOCK_STREAM } from '../../../../lib/kernel/constants.js';
import { Door } from '../../../../lib/kernel/door.js';
import { closeAll, unixAddress, unixSocket } from '../../../../lib/kernel/unix.js';
import { Channel, type Message } from '../../../../lib/vhost_user/channel.js';
import { FLAG_NEED_REPLY, FLAG_REPLY, PROTOCOL_F_INFLIGHT_SHMFD, readInflight, u64, writeInflight, type RequestName } from '../../../../lib/vhost_user/messages.js';
import { takeTurns } from '../../../../lib/vhost_user/turns.js';

/** What makes a ring run comes in this order, and again in this order. */
const REMEMBERED: readonly RequestName[] = [
  'SET_PROTOCOL_FEATURES', 'SET_OWNER', 'SET_FEATURES', 'SET_MEM_TABLE', 'SET_VRING_NUM', 'SET_VRING_BASE', 'SET_VRING_ADDR', 'SET_VRING_CALL',
  'SET_VRING_KICK', 'SET_VRING_ENABLE',
];

interface Said { readonly name: RequestName; readonly payload: Uint8Array; readonly fds: readonly number[] }

export class Keeper {
  /** Back-ends that were told everything. */
  backEnds = 0;
  readonly #door: Door;
  readonly #path: string;
  readonly #ringSize: number;
  readonly #leaveTurns: () => void;
  readonly #said: Said[] = [];
  #front: Channel | undefined;
  #back: Channel | undefined;
  #inflight: Said | undefined;

  /** The driver connects to `front`; back-ends listen at `back`. */
  constructor(front: string, back: string, ringSize: number) {
    this.#door = new Door(front, [process.geteuid!()], SOCK_STREAM);
    this.#path = back;
    this.#ringSize = ringSize;
    this.#leaveTurns = takeTurns(() => this.turn());
  }

  /** Is a back-end there? */
  get connected(): boolean {
    return this.#back !== undefined;
  }

  /** Passes on what has come, and looks for a back-end when there is none. */
  turn(): void {
    const accepted = this.#front === undefined ? this.#door.accept() : undefined;
    if (accepted !== undefined) this.#front = new Channel(accepted, 'back-end');
    this.#back ??= this.#connect();
    for (let message = take(this.#front); message !== undefined && this.#back !== undefined; message = take(this.#front)) this.#pass(message);
    if (this.#back !== undefined && this.#back.receive() === 'end') this.#lose();
  }

  close(): void {
    this.#leaveTurns();
    this.#back?.close();
    this.#front?.close();
    this.#door.close();
    for (const { fds } of this.#said) closeAll([...fds]);
    closeAll([...this.#inflight?.fds ?? []]);
  }

  #connect(): Channel | undefined {
    const fd = unixSocket(SOCK_STREAM | SOCK_NONBLOCK);
    if (binding().connect(fd, unixAddress(this.#path)) < 0) {
      binding().close(fd);
      return undefined;
    }
    this.#back = new Channel(fd, 'front-end');
    if (this.#said.length > 0) this.#sayAgain();
    return this.#back;
  }

  /** To the front-end a request is what it was; what it answers with is the back-end's. */
  #pass({ name, payload, fds, needsReply }: Message): void {
    const bytes = name === 'SET_PROTOCOL_FEATURES' ? u64(getU64(payload, 0) | PROTOCOL_F_INFLIGHT_SHMFD) : payload;
    if (REMEMBERED.includes(name)) this.#said.push({ name, payload: bytes, fds });
    const answers = needsReply || name.startsWith('GET_');
    this.#back!.send(name, needsReply ? FLAG_NEED_REPLY : 0, bytes, fds);
    if (!REMEMBERED.includes(name)) closeAll([...fds]);
    if (answers) {
      const answer = wait(this.#back!);
      this.#front!.send(answer.name, FLAG_REPLY, answer.payload, answer.fds);
    }
    if (name === 'SET_FEATURES') this.#askForMemory();
    if (name === 'SET_VRING_ENABLE') this.backEnds = 1;
  }

  #askForMemory(): void {
    this.#back!.send('GET_INFLIGHT_FD', 0, writeInflight({ bytes: 0n, fileOffset: 0n, queues: 2, queueSize: this.#ringSize }));
    const { payload, fds } = wait(this.#back!);
    this.#inflight = { name: 'SET_INFLIGHT_FD', payload: writeInflight(readInflight(payload)), fds };
    this.#back!.send('SET_INFLIGHT_FD', 0, this.#inflight.payload, fds);
  }

  #sayAgain(): void {
    for (const each of this.#said) {
      this.#back!.send(each.name, 0, each.payload, each.fds);
      if (each.name === 'SET_FEATURES') this.#back!.send('SET_INFLIGHT_FD', 0, this.#inflight!.payload, this.#inflight!.fds);
    }
    this.backEnds++;
  }

  #lose(): void {
    this.#back!.close();
    this.#back = undefined;
  }
}

function take(channel: Channel | undefined): Message | undefined {
  const received = channel?.receive();
  if (typeof received === 'object' && 'fault' in received) throw new Error(received.fault);
  return typeof received === 'object' ? received.message : undefined;
}

/** A back-end that has just been started may have the CPU late; the driver waits meanwhile, since it is within its turn. */
function wait(channel: Channel): Message {
  for (const end = performance.now() + 20_000; performance.now() < end;) {
    const message = take(channel);
    if (message !== undefined) return message;
    binding().poll(Int32Array.of(channel.fd, 1), 5);
  }
  throw new Error('the back-end does not answer');
}
