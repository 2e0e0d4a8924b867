/** The frames of test/captures, each once. */
import { readFileSync, readdirSync } from 'node:fs';
import { readCapture, type Seen } from './pcap_helper.js';

const captures = new URL('../../../test/captures/', import.meta.url);

export interface Captured extends Seen { readonly file: string }

export function capturedFrames(): Captured[] {
  const names = readdirSync(captures).filter(name => /\.pcap(ng)?$/.test(name));
  return names.flatMap(file => readCapture(readFileSync(new URL(file, captures)), { window: 65536 }).frames.map(frame => ({ ...frame, file })));
}
