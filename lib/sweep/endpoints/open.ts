import type { Endpoint, MemoryShare, Timer } from '../control.js';
import type { FrameEnds } from '../frame.js';
import { DgramEndpoint } from './dgram.js';
import { NullEndpoint } from './null.js';
import { PortEndpoint } from './port.js';
import { RawSocketEndpoint } from './raw_socket.js';

/** How one side of a path is opened. */
export type EndpointPlan =
  /** In the device string `%` stands for the interface's name. */
  | { readonly kind: 'port'; readonly device: string }
  | { readonly kind: 'null' }
  | { readonly kind: 'raw socket' }
  /** Its own and its peer's UDP port. */
  | { readonly kind: 'dgram'; readonly port: number; readonly peer: number };

export interface Surroundings {
  readonly sends: boolean;
  readonly ends: FrameEnds;
  readonly link?: { readonly ifindex: number; readonly name: string };
  readonly share?: MemoryShare;
}

/** In the calling thread and its namespace. Throws what the endpoint refuses, as a PollmodeError. */
export async function openEndpoint(plan: EndpointPlan, { sends, ends, link, share }: Surroundings, time: Timer): Promise<Endpoint> {
  switch (plan.kind) {
    case 'port': return new PortEndpoint(plan.device.replace('%', link?.name ?? ''), ends, sends, time, share);
    case 'null': return new NullEndpoint(ends, sends, time);
    case 'raw socket': return new RawSocketEndpoint(link!.ifindex, ends, sends, time);
    case 'dgram': return DgramEndpoint.open(plan, ends, sends, time);
  }
}
