/** Whether the machine itself uses a NIC, so that taking it away could cut its owner off. */
import { existsSync, readdirSync } from 'node:fs';
import { readLink } from '../kernel/link.js';
import { listAddresses } from '../kernel/link_addresses.js';
import type { PciDevice } from '../kernel/pci.js';
import { defaultRoutes } from '../kernel/routes.js';
import { VFIO_DRIVER } from '../kernel/vfio.js';

/** Why the device should stay where it is, one reason each; empty for one that may go. Of the calling process's network namespace. */
export function uses(device: PciDevice): string[] {
  const reasons = [...new Set(device.interfaces.flatMap(name => [name, ...above(name)]).flatMap(usesOfInterface))];
  if (device.interfaces.length === 0 && device.driver !== undefined && device.driver !== VFIO_DRIVER) {
    reasons.push(`${device.driver} drives it and no interface of it is here: it may be in another network namespace`);
  }
  return reasons;
}

function usesOfInterface(name: string): string[] {
  const { ifindex } = readLink(name);
  const addresses = listAddresses().filter(address => address.ifindex === ifindex && !address.linkLocal);
  return [
    ...(defaultRoutes().has(name) ? [`${name} carries the default route`] : []),
    ...addresses.map(({ text, prefix }) => `${name} has the address ${text}/${prefix}`),
    ...(existsSync(`/sys/class/net/${name}/master`) ? [`${name} is part of a bridge or bond`] : []),
  ];
}

/** What stands on an interface, VLANs and bridges, and on those: what they carry goes with it. */
function above(name: string): string[] {
  const folder = `/sys/class/net/${name}`;
  const uppers = existsSync(folder) ? readdirSync(folder).filter(entry => entry.startsWith('upper_')).map(entry => entry.slice('upper_'.length)) : [];
  return uppers.flatMap(upper => [upper, ...above(upper)]);
}
