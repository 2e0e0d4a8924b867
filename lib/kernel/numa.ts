/** Which NUMA node things are on (Documentation/ABI/stable/sysfs-devices-node, sysfs-bus-pci). -1 where sysfs does not tell. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** @param sys where sysfs is */
export function nodeOfCpu(cpu: number, sys = '/sys'): number {
  const node = list(join(sys, `devices/system/cpu/cpu${cpu}`)).find(name => /^node\d+$/.test(name));
  return node === undefined ? -1 : Number(node.slice(4));
}

/** Of an interface, or of a PCI device by its address. With `mac`, an interface of another address is another namespace's that has the name too. */
export function nodeOfDevice(device: string, mac?: string, sys = '/sys'): number {
  if (!/^[\w.:@-]+$/.test(device) || device.startsWith('.')) return -1;
  const link = join(sys, 'class/net', device);
  const theirs = text(join(link, 'address'));
  // A virtio device is a child of the PCI device that has a node; ".." is the link's target's.
  if (theirs !== undefined && (mac === undefined || mac === theirs)) return number(`${link}/device/numa_node`) ?? number(`${link}/device/../numa_node`) ?? -1;
  return number(join(sys, 'bus/pci/devices', device, 'numa_node')) ?? -1;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function text(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function number(file: string): number | undefined {
  const found = text(file);
  return found !== undefined && /^-?\d+$/.test(found) ? Number(found) : undefined;
}
