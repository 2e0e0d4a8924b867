/** A memif control connection, either end's: messages whole or not at all, with their descriptors. What comes in is a stranger's. */
import { binding } from '../../../binding.js';
import { closeAll, receiveMessage, sendMessage } from '../../../kernel/unix.js';
import { hasDescriptor, MESSAGE_BYTES, readMessage, writeMessage, type Message } from './messages.js';

/** The descriptor is the receiver's to close. */
export interface Incoming { readonly message: Message; readonly fd: number | undefined }

/** What a read gives besides a message: nothing yet; the peer is gone; or what is wrong with what it sent, after which nothing is read. */
export type Received = Incoming | 'none' | 'end' | { readonly fault: string };

export class MemifChannel {
  readonly fd: number;
  #broken = false;

  /** Over a connected SOCK_SEQPACKET socket that does not wait; it is the channel's to close. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** The next message. Never waits. */
  receive(): Received {
    if (this.#broken) return 'end';
    const received = receiveMessage(this.fd, MESSAGE_BYTES);
    if (received === undefined) return 'none';
    if (received === 'end') return 'end';
    const { bytes, fds, cut } = received;
    const message = bytes.length === MESSAGE_BYTES && !cut ? readMessage(bytes) : undefined;
    if (message === undefined) return this.#break(fds, bytes.length === MESSAGE_BYTES && !cut ? 'sent a message of no known kind' : 'sent a message of another size');
    const wanted = hasDescriptor(message.kind) ? 1 : 0;
    if (fds.length !== wanted) return this.#break(fds, `sent ${message.kind} with ${fds.length > wanted ? 'too many descriptors' : 'no descriptor'}`);
    return { message, fd: fds[0] };
  }

  /** Returns false when the peer takes no more (it does not read), or is gone. */
  send(message: Message, fd?: number): boolean {
    return sendMessage(this.fd, writeMessage(message), fd === undefined ? [] : [fd]) === 0;
  }

  close(): void {
    this.#broken = true;
    binding().close(this.fd);
  }

  #break(fds: readonly number[], fault: string): { fault: string } {
    closeAll(fds);
    this.#broken = true;
    return { fault };
  }
}
