/** The 82599's driver on a model of its device: a port for a test, and frames for it. */
import t, { type Test } from 'tap';
import type { IntelSettings } from '../../../../lib/port/drivers/vfio/intel/port.js';
import { frame } from '../../conformance/frames.js';
import { STATION } from './model/82599.js';
import { Lab } from './model_nic.js';

/** The station's address, as text. */
export const MAC = '02:82:59:90:00:01';

/** A port on the device; at the end nothing that the datasheet forbids was done, no transfer went astray, and every mbuf is back. */
export function on(name: string, settings: Partial<IntelSettings>, work: (t: Test, made: Lab) => void): void {
  t.test(name, async t => {
    const made = new Lab({ jumbo: (settings.mtu ?? 1500) > 1500 });
    t.teardown(() => { made.close(); });
    made.open(settings);
    work(t, made);
    made.port.close();
    t.same(made.model.violations, [], 'nothing that the datasheet forbids');
    t.equal(made.model.faults, 0, 'no transfer that the IOMMU refused');
    t.equal(made.pool.audit().free, made.pool.size, 'every mbuf is back');
  });
}

/** A frame of 60 to 1514 bytes that is no other's, to the station. */
export function numbered(number: number): Uint8Array {
  return to(STATION, frame(60 + (number * 7919) % 1455, number + 1));
}

export function to(address: Uint8Array | readonly number[], bytes: Uint8Array): Uint8Array {
  bytes.set(address);
  return bytes;
}
