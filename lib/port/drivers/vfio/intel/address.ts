import { PollmodeError } from '../../../../errors.js';
import { macText } from '../../../../kernel/address.js';
import type { Registers } from '../pci/registers.js';

/** RAH: the address is valid. The same place in all of them. */
const RAH_AV = 0x80000000;

/** Receive address 0: the station's, loaded from the NVM. Throws EUNSUPPORTED when there is none. */
export function stationAddress(name: string, registers: Pick<Registers<'RAL' | 'RAH'>, 'read'>): string {
  const low = registers.read('RAL');
  const high = registers.read('RAH');
  if ((high & RAH_AV) === 0 || low === 0xffffffff) throw new PollmodeError('EUNSUPPORTED', `${name}: the NIC has no MAC address in its NVM: repair the NVM, or use another NIC.`);
  return macText(Uint8Array.of(low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8));
}
