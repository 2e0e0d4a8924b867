import { PollmodeError } from '../errors.js';
import { RSS_KEY_MAX } from './layout.js';

/** The key of Microsoft's verification suite, which most drivers have as their default (Intel 82576 datasheet section 7.1.1.7 asks for 40 bytes). */
export const DEFAULT_KEY: Uint8Array = Uint8Array.from([
  0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
  0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
]);

/**
 * Both ways of a connection hash alike: the key repeats every 16 bits, so that exchanging addresses and ports exchanges
 * equal contributions (S. Woo, K. Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012).
 * It spreads a little worse: all hashes have equal halves.
 */
export const SYMMETRIC_KEY: Uint8Array = Uint8Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 0x6d : 0x5a));

export type RssKey = 'default' | 'symmetric' | Uint8Array;

/** The bytes of a key. A hash of two IPv6 addresses and ports takes 40; longer ones (52 on some NICs) are kept whole. Throws EOPTION. */
export function keyBytes(key: RssKey): Uint8Array {
  if (key === 'default') return DEFAULT_KEY;
  if (key === 'symmetric') return SYMMETRIC_KEY;
  if (!(key instanceof Uint8Array) || key.length < 40 || key.length > RSS_KEY_MAX) {
    throw new PollmodeError('EOPTION', `An RSS key has 40 to ${RSS_KEY_MAX} bytes: give so many, or 'default' or 'symmetric'.`);
  }
  return key;
}
