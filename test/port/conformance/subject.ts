/**
 * What the conformance suite must know of a driver, and how it reaches the other end of a port. A new driver is a file
 * beside this one that describes it and calls `conformance(t, subject)`.
 */
import type { Host, OpenOptions } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import type { ErrorCode } from '../../../lib/errors.js';

export interface Subject {
  /** The word before the colon. */
  readonly driver: string;
  /** tap's options: the reason for a skip. */
  readonly needs?: { readonly skip: string | false };
  /** Makes the port's surroundings: a lab, a folder. */
  readonly place: () => Place;
  /** Does a sent frame come out somewhere, and is a received one what somebody sent? `null:` makes and swallows. */
  readonly carries: boolean;
  /** Bytes of the shortest frame it sends. */
  readonly shortest: number;
  /** Bytes of the longest frame it sends and receives from a pool with this room. */
  readonly longest: (room: number) => number;
  /** Does it send a packet in several segments? */
  readonly chains: 'carried' | 'refused';
  /** False: chains are carried, but frames of more than 1514 bytes are not. A function: they are in another place, whose link takes them. */
  readonly jumbo?: false | (() => Place);
  /** False: a port that is opened as here sends jumbo frames, and receives none. */
  readonly jumboReceived?: false;
  /** Counters in xstats that name why a frame was not sent; absent where there is no such frame. */
  readonly refusals: { readonly short?: string; readonly long?: string; readonly chain?: string };
  /** It hands mbufs on as they are: until one is received its header names the sender, and then still the port by which it came into the program. */
  readonly handsOn?: true;
  /** Does receiving take mbufs from the pool? */
  readonly takesMbufs: boolean;
  /** Counters in xstats of frames that came and were not received. */
  readonly losses: readonly string[];
  /** Why frames that found no room are in no counter at all; absent where they are. */
  readonly uncounted?: string;
  /** What it sends also comes back to it: the emulated switch of a NIC has it so for a virtual function that takes everything. */
  readonly echoes?: true;
  /** A hundred frames offered again and again, with nobody at the other end, are refused in the end. */
  readonly fills: boolean;
  /** What the pool of the tests must be like; nothing special by default. */
  readonly pool?: { readonly file: 'own' };
  /** Requests that must be refused beyond what the option table says, and the code. */
  readonly refused: readonly (readonly [device: string, code: ErrorCode])[];
}

/** Where ports are opened; the same device may be opened in it many times, one after the other. */
export interface Place {
  /** The device string, with small rings: some 128 frames in each direction. */
  readonly device: string;
  /** Opens `device` and, where the frames have to come from and go to, the other end. `incoming` arrives at the port, at once or soon. */
  open(setup: Setup): Promise<Rig>;
  /** A failed call of `open` that names several devices: within it the network namespace is the place's. */
  within<T>(work: () => T): T;
  close(): void;
}

export interface Setup {
  readonly options: OpenOptions;
  readonly incoming?: readonly Uint8Array[];
}

export interface Rig {
  readonly host: Host;
  /** The port under test, one of the host's. */
  readonly port: Port;
  /** More frames for the port, where they can be sent at any time; a file cannot. */
  readonly arrive?: (frames: readonly Uint8Array[]) => Promise<void>;
  /** What came out at the other end since last asked. A file must be closed to be read: then this closes the port. */
  departed(): Uint8Array[];
  /** Closes the host and the other end. */
  close(): void;
}

/** The short form of the suite: for the checking build and the twins, which run it in processes of their own. */
export const SHORT = process.env['POLLMODE_CONFORMANCE'] === 'short';
export const LONG = process.env['POLLMODE_LONG'] === '1';

/** Runs a check of jumbo frames where the subject carries them. */
export async function inJumboPlace(subject: Subject, place: Place, check: (place: Place) => Promise<void>): Promise<void> {
  if (typeof subject.jumbo !== 'function') return check(place);
  const other = subject.jumbo();
  try {
    await check(other);
  } finally {
    other.close();
  }
}

/** How often a check of chance is tried. */
export const RUNS = SHORT ? 3 : LONG ? 200 : 15;
