/** Addresses as people write them, to the bytes of the wire and back. */
import { PollmodeError } from '../errors.js';

/** "02:00:00:00:00:01" as 6 bytes. */
export function macBytes(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new PollmodeError('EOPTION', `"${text}" is no MAC address: write six pairs of hexadecimal digits with colons between.`);
  }
  return Uint8Array.from(text.split(':'), (pair) => Number.parseInt(pair, 16));
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** "10.0.0.1" as 4 bytes. */
export function ipv4Bytes(text: string): Uint8Array {
  const parts = text.split('.');
  const good = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  if (!good) throw new PollmodeError('EOPTION', `"${text}" is no IPv4 address: write four numbers from 0 to 255 with dots between.`);
  return Uint8Array.from(parts, Number);
}
