/** Changes that are in the journal before they are made: what drivers call. Each returns the entry to undo at close. */
import { readChannels, readFeatures, setChannels, setFeature } from '../kernel/ethtool.js';
import { readLink } from '../kernel/link.js';
import { readNapi, setNapi, type Deferral } from '../kernel/napi.js';
import { freeLocation, insertNtuple, readNtupleTable, type NtupleSpec } from '../kernel/ntuple.js';
import { attributePath, writeSysfs, type PciDevice } from '../kernel/pci.js';
import { setNicRss } from '../kernel/rss.js';
import { journal, type Journal, type JournalEntry } from './journal.js';
import type { ChannelCounts, ChannelsChange } from './kinds/channels.js';
import type { FeatureChange } from './kinds/feature.js';
import type { NapiChange } from './kinds/napi.js';
import type { NtupleChange } from './kinds/ntuple.js';
import { pciDriverChange, type PciDriverChange } from './kinds/pci_driver.js';
import { rssChange } from './kinds/rss.js';
import { applySysfs, sysfsChange } from './kinds/sysfs.js';
import { virtualFunctionsChange } from './kinds/virtual_functions.js';

/** Writes a value in sysfs or /proc/sys. Throws EFORMAT for a path that a journal may not write, ENOTFOUND, ERIGHTS; then nothing is changed. */
export function changeSysfs(path: string, to: string, into: Journal = journal()): JournalEntry {
  const change = sysfsChange(path, to);
  return making(into.record(change), () => applySysfs(change));
}

/** Changes the counts that are given (ethtool -L), of an interface of the calling thread's namespace. */
export function changeChannels(ifname: string, to: Partial<ChannelCounts>, into: Journal = journal()): JournalEntry {
  const { rx, tx, other, combined } = readChannels(ifname);
  const was = { rx, tx, other, combined };
  const change: ChannelsChange = { kind: 'channels', ifname, ifindex: readLink(ifname).ifindex, was, to: { ...was, ...to } };
  return making(into.record(change), () => setChannels(ifname, to));
}

/** Changes a NIC's redirection table, its key or both (ethtool -X), as often as wanted afterwards with `setNicRss`: undoing puts back what stood there first. In its namespace. */
export function changeNicRss(ifname: string, to: Parameters<typeof setNicRss>[1], into: Journal = journal()): JournalEntry {
  return making(into.record(rssChange(ifname)), () => setNicRss(ifname, to));
}

/** Changes when the interrupts of one NAPI come; what `to` leaves out stays. In the namespace of its interface. Throws EUNSUPPORTED before Linux 6.13. */
export function changeNapi(napi: number, to: Partial<Deferral>, into: Journal = journal()): JournalEntry {
  const { ifindex, deferHardIrqs, groFlushNs } = readNapi(napi);
  const was = { deferHardIrqs, groFlushNs };
  const change: NapiChange = { kind: 'napi', napi, ifindex, was, to: { ...was, ...to } };
  return making(into.record(change), () => setNapi(napi, change.to));
}

/** Turns an offload feature on or off (ethtool -K), in its interface's namespace. Throws ENOTFOUND, EFORMAT for one that a journal may not change, EUNSUPPORTED. */
export function changeFeature(ifname: string, feature: string, on: boolean, into: Journal = journal()): JournalEntry {
  const was = readFeatures(ifname).get(feature)?.active === true;
  const change: FeatureChange = { kind: 'feature', ifname, ifindex: readLink(ifname).ifindex, feature, was: was ? 1 : 0 };
  return making(into.record(change), () => setFeature(ifname, feature, on));
}

/** Puts a rule into a NIC's table (ethtool -N), at a place that is free; in its interface's namespace. Undoing takes it away. Throws what the driver says. */
export function changeNtuple(ifname: string, spec: NtupleSpec, into: Journal = journal()): JournalEntry {
  const table = readNtupleTable(ifname);
  const location = freeLocation(ifname, table);
  const change: NtupleChange = {
    kind: 'ntuple', ifname, ifindex: readLink(ifname).ifindex, spec: Buffer.from(spec).toString('hex'), ...(location === undefined ? { others: table.taken } : { location }),
  };
  return making(into.record(change), () => insertNtuple(ifname, spec, location));
}

/**
 * Moves a PCI device from one driver to another by `move`, which throws when it does not get there. Undoing gives it back,
 * from wherever it stands without a driver. Throws what `move` throws, and it is undone then; once there, strike it out.
 */
export function changePciDriver(device: PciDevice, back: Pick<PciDriverChange, 'driver' | 'override'>, move: () => void, into: Journal = journal()): JournalEntry {
  return making(into.record(pciDriverChange(device, back)), move);
}

/** Has a physical function make `to` virtual ones instead of `was`: none first, as the kernel has it. Once it is done, strike it out. */
export function changeVirtualFunctions(device: PciDevice, was: number, to: number, into: Journal = journal()): JournalEntry {
  const path = attributePath(device, 'sriov_numvfs');
  return making(into.record(virtualFunctionsChange(device, was, to)), () => {
    if (was > 0) writeSysfs(path, '0');
    if (to > 0) writeSysfs(path, String(to));
  });
}

function making(entry: JournalEntry, change: () => void): JournalEntry {
  try {
    change();
    return entry;
  } catch (cause) {
    entry.undo(); // it may have been made in part
    throw cause;
  }
}
