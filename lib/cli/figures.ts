/** Counts and rates as a person reads them at a glance: three digits, and the unit that fits. Of columns that are compared, use `mpps` instead. */
import { figure } from '../sweep/text.js';

const PREFIXES = ['', 'k', 'M', 'G', 'T'];

/** "3 pps", "12.3 kpps", "1.94 Mpps". */
export function packetRate(packetsPerSecond: number): string {
  return `${scaled(packetsPerSecond)}pps`;
}

/** "880 bit/s", "9.41 Gbit/s". */
export function bitRate(bitsPerSecond: number): string {
  return `${scaled(bitsPerSecond)}bit/s`;
}

/** "60 B", "1.50 kB": thousands, as the rates are. */
export function byteCount(bytes: number): string {
  return `${scaled(bytes)}B`;
}

/** "1 port", "2 ports". */
export function counted(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function scaled(value: number): string {
  let prefix = 0;
  // Rounded first: 999.7 is 1.00 k.
  for (; Number(value.toPrecision(3)) >= 1000 && prefix < PREFIXES.length - 1; prefix++) value /= 1000;
  return `${prefix === 0 ? small(value) : figure(value)} ${PREFIXES[prefix]!}`;
}

/** Whole, but for less than ten: one packet in two seconds is not none. */
function small(value: number): string {
  return value < 9.95 ? String(Number(value.toPrecision(2))) : value.toFixed(0);
}
