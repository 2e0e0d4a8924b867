import type { Test } from 'tap';
import { open, type Host, type OpenOptions, type PortRequest } from '../../lib/port/host.js';

/** Opens ports for a test; at its end they are closed. */
export function openFor(t: Test, requests: readonly PortRequest[], options: OpenOptions = {}): Host {
  const host = open(requests, options);
  t.teardown(() => host.close());
  return host;
}
