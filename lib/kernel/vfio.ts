/**
 * A PCI device in user space, by VFIO (Documentation/driver-api/vfio.rst): a container, which is one IOMMU domain, with
 * one group in it, and one device of the group. The device reaches the memory that is mapped for it and nothing else.
 *
 * There is no no-IOMMU mode: there a wrong descriptor, or a bug of the device, writes to any memory of the machine.
 */
import { readSync, writeSync } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError, type ErrorCode } from '../errors.js';
import { cString, getU32, getU64, setU32, u32 } from './bytes.js';
import { O_NONBLOCK, O_RDWR, RLIMIT_MEMLOCK } from './constants.js';
import { check, EACCES, EBUSY, ENOENT, ENOMEM } from './errno.js';
import { isUnprotected, listGroup, readDevice, type PciDevice } from './pci.js';
import {
  dmaMap, dmaUnmap, iovaRanges, irqSet, sized, VFIO_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET, VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS, VFIO_GET_API_VERSION, VFIO_GROUP_FLAGS_VIABLE, VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER, VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU, type IovaRange,
} from './vfio_uapi.js';

export const VFIO_DRIVER = 'vfio-pci';
const CONTAINER = '/dev/vfio/vfio';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** PCI Local Bus Specification 3.0, section 6.2.2: the command register. */
const PCI_COMMAND = 4;
const PCI_COMMAND_MEMORY = 2;
const PCI_COMMAND_MASTER = 4;

export interface VfioRegion {
  readonly size: number;
  /** Where it stands in the device's file: for mmap, read and write. */
  readonly offset: number;
  readonly mappable: boolean;
}

/** An open device. Belongs to one thread; close it, or end, and the kernel resets the device and takes its memory away. */
export class VfioDevice {
  readonly pci: PciDevice;
  /** What the IOMMU can map. */
  readonly ranges: readonly IovaRange[];
  readonly #fds: { container: number; group: number; device: number };
  readonly #flags: number;
  readonly #config: VfioRegion;
  readonly #eventfds: number[] = [];
  #closed = false;

  /**
   * `token`: a UUID, that VFIO asks for where a physical function and its virtual ones are all its own: who opens the
   * physical one sets it, and who opens a virtual one must know it. Throws EDEVICE, ENOTFOUND, EBUSYQUEUE (another
   * driver, process or group member has it), ERIGHTS, EUNSUPPORTED, EOPTION, ESYSCALL.
   */
  constructor(address: string, token = '') {
    this.pci = readDevice(address);
    const group = usableGroup(this.pci);
    const fds = this.#fds = { container: -1, group: -1, device: -1 };
    try {
      fds.container = openContainer();
      fds.group = openGroup(this.pci, group);
      refuseSharers(this.pci, group, fds.group);
      check(binding().ioctl(fds.group, VFIO_GROUP_SET_CONTAINER, u32(fds.container)), 'ioctl(VFIO_GROUP_SET_CONTAINER)');
      check(binding().ioctl(fds.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 'ioctl(VFIO_SET_IOMMU)');
      fds.device = openDevice(this.pci, fds.group, token);
      this.ranges = readRanges(fds.container);
      this.#flags = this.#info();
      this.#config = this.region(VFIO_PCI_CONFIG_REGION_INDEX);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** The device's file: what its regions are mapped from. */
  get fd(): number {
    return this.#fds.device;
  }

  region(index: number): VfioRegion {
    const info = sized(32);
    setU32(info, 8, index);
    check(binding().ioctl(this.fd, VFIO_DEVICE_GET_REGION_INFO, info), 'ioctl(VFIO_DEVICE_GET_REGION_INFO)');
    return { size: Number(getU64(info, 16)), offset: Number(getU64(info, 24)), mappable: (getU32(info, 4) & VFIO_REGION_INFO_FLAG_MMAP) !== 0 };
  }

  /**
   * Lets the device read and write whole pages of a view, under the address `iova`. The pages stay where they are until
   * `unmap`, and count as locked memory. Throws EMEMLOCK, ESYSCALL.
   */
  map(bytes: Uint8Array, offset: number, length: number, iova: number): void {
    const result = binding().ioctl(this.#fds.container, VFIO_IOMMU_MAP_DMA, dmaMap(binding().address(bytes) + BigInt(offset), iova, length));
    if (result === -ENOMEM) throw memlockError(this.pci.address, length);
    check(result, 'ioctl(VFIO_IOMMU_MAP_DMA)');
  }

  unmap(iova: number, length: number): void {
    binding().ioctl(this.#fds.container, VFIO_IOMMU_UNMAP_DMA, dmaUnmap(iova, length));
  }

  /** Interrupts that the index has: MSI-X vectors, or 1 for the request interrupt. */
  irqs(index: number): number {
    const info = sized(16);
    setU32(info, 8, index);
    return binding().ioctl(this.fd, VFIO_DEVICE_GET_IRQ_INFO, info) < 0 ? 0 : getU32(info, 12);
  }

  /** Eventfds for the first `count` interrupts of the index, not blocking; they go with the device. Throws ESYSCALL. */
  signal(index: number, count: number): number[] {
    const fds = Array.from({ length: count }, () => {
      const fd = check(binding().eventfd(0, O_NONBLOCK), 'eventfd');
      this.#eventfds.push(fd);
      return fd;
    });
    check(binding().ioctl(this.fd, VFIO_DEVICE_SET_IRQS, irqSet(index, fds)), 'ioctl(VFIO_DEVICE_SET_IRQS)', 'the kernel has no interrupt vectors left for this device: close other devices.');
    return fds;
  }

  /** Function-level reset, or what the kernel has instead. Returns whether there was one: a device may know none. */
  reset(): boolean {
    return (this.#flags & VFIO_DEVICE_FLAGS_RESET) !== 0 && binding().ioctl(this.fd, VFIO_DEVICE_RESET, 0) === 0;
  }

  /** Whether the device may start transfers of its own, and answer at its registers. */
  busMaster(on: boolean): void {
    const command = this.readConfig(PCI_COMMAND) | PCI_COMMAND_MEMORY;
    this.writeConfig(PCI_COMMAND, on ? command | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MASTER);
  }

  /** 16 bits of the configuration space; 0xffff when the device has gone. */
  readConfig(at: number): number {
    const bytes = new Uint8Array(2);
    readSync(this.fd, bytes, 0, 2, this.#config.offset + at);
    return bytes[0]! | (bytes[1]! << 8);
  }

  writeConfig(at: number, value: number): void {
    writeSync(this.fd, Uint8Array.of(value & 0xff, value >>> 8), 0, 2, this.#config.offset + at);
  }

  /** The kernel stops the device, unmaps its memory and lets a waiting unplug go on. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { device, group, container } = this.#fds;
    for (const fd of [device, group, container, ...this.#eventfds]) if (fd >= 0) binding().close(fd);
  }

  #info(): number {
    const info = sized(16);
    check(binding().ioctl(this.fd, VFIO_DEVICE_GET_INFO, info), 'ioctl(VFIO_DEVICE_GET_INFO)');
    const flags = getU32(info, 4);
    if ((flags & VFIO_DEVICE_FLAGS_PCI) === 0) throw refusal(this.pci, 'EUNSUPPORTED', 'VFIO does not show it as a PCI device: choose another');
    return flags;
  }
}

function refusal({ address }: PciDevice, code: ErrorCode, why: string, kernel: { syscall?: string; errno?: number } = {}): PollmodeError {
  return new PollmodeError(code, `${address}: ${why}.`, kernel);
}

/** The device's IOMMU group, for a device that is VFIO's. */
function usableGroup(pci: PciDevice): string {
  if (pci.group === undefined || isUnprotected(pci.group)) {
    throw refusal(pci, 'EUNSUPPORTED', 'there is no IOMMU before it, and without one the device could write anywhere in memory, so that is refused: switch the IOMMU on in the firmware (VT-d, AMD-Vi, SMMU) and for the kernel (intel_iommu=on)');
  }
  if (pci.driver === VFIO_DRIVER) return pci.group;
  const bind = `pollmode bind ${pci.address} as root`;
  if (pci.driver === undefined) throw refusal(pci, 'EUNSUPPORTED', `it is not bound to ${VFIO_DRIVER}: ${bind}`);
  throw refusal(pci, 'EBUSYQUEUE', `the kernel's driver ${pci.driver} has it: ${bind}`);
}

function openContainer(): number {
  const fd = binding().open(CONTAINER, O_RDWR);
  if (fd === -ENOENT) throw new PollmodeError('EUNSUPPORTED', `${CONTAINER} is not there: modprobe ${VFIO_DRIVER}, or give the container this device.`, { syscall: 'open', errno: ENOENT });
  if (fd === -EACCES) throw new PollmodeError('ERIGHTS', `${CONTAINER} may not be opened: run as root, or change the file's mode.`, { syscall: 'open', errno: EACCES });
  check(fd, 'open');
  const version = binding().ioctl(fd, VFIO_GET_API_VERSION, 0);
  if (version === VFIO_API_VERSION && binding().ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) === 1) return fd;
  binding().close(fd);
  throw new PollmodeError('EUNSUPPORTED', `VFIO has no type 1 IOMMU here (API version ${version}): modprobe vfio_iommu_type1.`);
}

function openGroup(pci: PciDevice, group: string): number {
  const path = `/dev/vfio/${group}`;
  const fd = binding().open(path, O_RDWR);
  if (fd === -EBUSY) throw refusal(pci, 'EBUSYQUEUE', `${path} is open already, in another process or by another port: close it there (fuser ${path} names it)`, { syscall: 'open', errno: EBUSY });
  if (fd === -EACCES) throw refusal(pci, 'ERIGHTS', `${path} may not be opened: run as root, or give the file to this user (chown)`, { syscall: 'open', errno: EACCES });
  return check(fd, 'open', `${path} could not be opened for ${pci.address}: pollmode bind ${pci.address} as root.`);
}

/** drivers/vfio/pci/vfio_pci_core.c: the device's name, and behind it what is asked for. */
function openDevice(pci: PciDevice, group: number, token: string): number {
  if (token !== '' && !UUID.test(token)) throw new PollmodeError('EOPTION', `vf_token=${token.slice(0, 60)} is no UUID: write 32 hexadecimal digits as 8-4-4-4-12.`);
  const name = cString(token === '' ? pci.address : `${pci.address} vf_token=${token}`);
  const fd = binding().ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
  if (fd === -EACCES) throw refusal(pci, 'ERIGHTS', 'VFIO asks for the token of its physical function (vf_token=, the one that this was opened with), or has that function no token', { syscall: 'ioctl(VFIO_GROUP_GET_DEVICE_FD)', errno: EACCES });
  if (token === '') return check(fd, 'ioctl(VFIO_GROUP_GET_DEVICE_FD)');
  return check(fd, 'ioctl(VFIO_GROUP_GET_DEVICE_FD)', `${pci.address}: a token is for a physical function with virtual ones, or for one of those: leave vf_token out, or load vfio-pci with enable_sriov=1.`);
}

/** A group is one for the IOMMU: no other driver may do DMA in it. */
function refuseSharers(pci: PciDevice, group: string, fd: number): void {
  const status = sized(8);
  check(binding().ioctl(fd, VFIO_GROUP_GET_STATUS, status), 'ioctl(VFIO_GROUP_GET_STATUS)');
  if ((getU32(status, 4) & VFIO_GROUP_FLAGS_VIABLE) !== 0) return;
  const others = listGroup(group).filter(({ address, driver }) => address !== pci.address && driver !== undefined && driver !== VFIO_DRIVER);
  const names = others.map(({ address, driver }) => `${address} (${driver})`).join(', ');
  throw refusal(pci, 'EBUSYQUEUE', `IOMMU group ${group} is not viable: the kernel's drivers still have ${names} in it. Bind them to ${VFIO_DRIVER} too (pollmode bind ${others.map(({ address }) => address).join(' ')}), or put the NIC into another slot`);
}

/** The structure tells how long it would have been. */
function readRanges(container: number): IovaRange[] {
  let info = sized(24);
  check(binding().ioctl(container, VFIO_IOMMU_GET_INFO, info), 'ioctl(VFIO_IOMMU_GET_INFO)');
  info = sized(Math.min(getU32(info, 0), 65536));
  check(binding().ioctl(container, VFIO_IOMMU_GET_INFO, info), 'ioctl(VFIO_IOMMU_GET_INFO)');
  const ranges = iovaRanges(info);
  if (ranges === undefined) throw new PollmodeError('EUNSUPPORTED', 'This kernel does not say which addresses its IOMMU can map: Linux 5.5 or newer is needed.');
  return ranges;
}

function memlockError(address: string, length: number): PollmodeError {
  const limit = new Float64Array(2);
  binding().rlimit(RLIMIT_MEMLOCK, limit);
  const need = Math.ceil(length / 1024);
  return new PollmodeError('EMEMLOCK', `${address}: ${need} KiB of memory are to be locked for the device and the limit is ${limit[0]! / 1024} KiB: raise it (ulimit -l ${need * 2}, or LimitMEMLOCK= in a service), or ask for fewer mbufs.`, { syscall: 'ioctl(VFIO_IOMMU_MAP_DMA)', errno: ENOMEM });
}

/**
 * The constant that makes an arena's offset an IOVA: a multiple of 2^32, so that it is the upper half of every address,
 * and such that the whole arena is inside one range. 2^32 itself wherever it can be: below, x86 and arm64 keep windows
 * for interrupts. Throws EUNSUPPORTED.
 */
export function chooseIovaBase(ranges: readonly IovaRange[], size: number): number {
  const candidates = [1, 2, 4, 8, 16, 64, 256, 1024, 0].map(high => high * 2 ** 32);
  const found = candidates.find(base => ranges.some(({ start, end }) => start <= base && base + size - 1 <= end));
  if (found !== undefined) return found;
  const shown = ranges.map(({ start, end }) => `0x${start.toString(16)} to 0x${end.toString(16)}`).join(', ');
  throw new PollmodeError('EUNSUPPORTED', `The IOMMU maps ${shown || 'nothing'}, and an arena of ${size} bytes has no place in it: use a smaller arena (arenaOptions: { size }).`);
}
