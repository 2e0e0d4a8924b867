export interface AfXdpOptions {
  /** The interface's name. */
  readonly device: string;
  /** Its receive queue, the first where there are several. Default 0. */
  readonly queue?: number;
  /** How many queues, from the first on: as many rx and tx queues of the port. Default 1; more needs Linux 5.10. */
  readonly queues?: number;
  /** How many queues the interface shall have meanwhile (ethtool -L); put back at close. Default: as many as it has. */
  readonly channels?: number;
  /** Where the XDP program runs. `auto`: native where the driver has it, else generic. */
  readonly mode?: 'auto' | 'native' | 'generic';
  /** `auto`: as the kernel chooses. `must` fails, with the reason, where the driver has none. Unproven: only its refusal has been seen so far. */
  readonly zeroCopy?: 'auto' | 'never' | 'must';
  /** Lets the kernel say when it wants a system call. Default true. */
  readonly needWakeup?: boolean;
  /** Entries of the rx and fill rings, and of the tx and completion rings, of each queue; powers of two. Default 2048. */
  readonly rxRing?: number;
  readonly txRing?: number;
  /** Packets that one sendto may send in copy mode, 32 to the tx ring's size, where the kernel lets itself be told (Linux 6.17). Default: the tx ring's size. */
  readonly txBudget?: number;
  /** The pool in huge pages or not at all. */
  readonly huge?: boolean;
  /** An XDP program of your own: a pinned path or fd:N, with its XSKMAP. */
  readonly program?: string;
  readonly xskMap?: string;
  /** Path of a network namespace to open the interface in. */
  readonly netns?: string;
}

/** With the defaults filled in. */
export type Settings = Required<Omit<AfXdpOptions, 'channels' | 'program' | 'xskMap' | 'netns' | 'txBudget' | 'huge'>> & AfXdpOptions;

export function settings(options: AfXdpOptions): Settings {
  return { queue: 0, queues: 1, mode: 'auto', zeroCopy: 'auto', needWakeup: true, rxRing: 2048, txRing: 2048, ...options };
}
