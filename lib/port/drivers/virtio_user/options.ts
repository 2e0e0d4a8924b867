export interface VirtioUserOptions {
  /** Path of the back-end's Unix socket. */
  readonly device: string;
  /** Pairs of queues. Default 1. */
  readonly queues?: number;
  /** Descriptors of each ring. Default 256. */
  readonly queueSize?: number;
  /** Packed rings. Default off. */
  readonly packed?: boolean;
  /** Lets a received frame take several buffers. Default on. */
  readonly mergeable?: boolean;
  /** Tables of descriptors for frames in several pieces. Default on. */
  readonly indirect?: boolean;
  /** Bytes of the largest IP packet. Default 1500. */
  readonly mtu?: number;
}
