/** VFIO's user-space interface (include/uapi/linux/vfio.h): numbers by the header's names, and its structures as bytes. */
import { getU32, getU64, setI32, setU32, setU64 } from './bytes.js';

/** _IO(VFIO_TYPE, VFIO_BASE + number): no size and no direction are in it. */
const request = (number: number): number => (';'.charCodeAt(0) << 8) | (100 + number);
export const VFIO_GET_API_VERSION = request(0);
export const VFIO_CHECK_EXTENSION = request(1);
export const VFIO_SET_IOMMU = request(2);
export const VFIO_GROUP_GET_STATUS = request(3);
export const VFIO_GROUP_SET_CONTAINER = request(4);
export const VFIO_GROUP_GET_DEVICE_FD = request(6);
export const VFIO_DEVICE_GET_INFO = request(7);
export const VFIO_DEVICE_GET_REGION_INFO = request(8);
export const VFIO_DEVICE_GET_IRQ_INFO = request(9);
export const VFIO_DEVICE_SET_IRQS = request(10);
export const VFIO_DEVICE_RESET = request(11);
export const VFIO_IOMMU_GET_INFO = request(12);
export const VFIO_IOMMU_MAP_DMA = request(13);
export const VFIO_IOMMU_UNMAP_DMA = request(14);

export const VFIO_API_VERSION = 0;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_GROUP_FLAGS_VIABLE = 1;
export const VFIO_DEVICE_FLAGS_RESET = 1;
export const VFIO_DEVICE_FLAGS_PCI = 2;
export const VFIO_REGION_INFO_FLAG_MMAP = 4;
export const VFIO_DMA_MAP_FLAG_READ = 1;
export const VFIO_DMA_MAP_FLAG_WRITE = 2;
const VFIO_IOMMU_INFO_CAPS = 2;
const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
const VFIO_IRQ_SET_DATA_NONE = 1;
const VFIO_IRQ_SET_DATA_EVENTFD = 4;
const VFIO_IRQ_SET_ACTION_TRIGGER = 32;

/** Regions and interrupts of a PCI device, by index. */
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;

/** A structure of `size` bytes that begins with its own size. */
export function sized(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  setU32(bytes, 0, size);
  return bytes;
}

/** struct vfio_iommu_type1_dma_map: the device may read and write. */
export function dmaMap(address: bigint, iova: number, size: number): Uint8Array {
  const bytes = sized(32);
  setU32(bytes, 4, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
  setU64(bytes, 8, address);
  setU64(bytes, 16, BigInt(iova));
  setU64(bytes, 24, BigInt(size));
  return bytes;
}

/** struct vfio_iommu_type1_dma_unmap */
export function dmaUnmap(iova: number, size: number): Uint8Array {
  const bytes = sized(24);
  setU64(bytes, 8, BigInt(iova));
  setU64(bytes, 16, BigInt(size));
  return bytes;
}

/** struct vfio_irq_set: interrupts 0, 1, ... of the index signal these eventfds from now on; none of them for an empty list. */
export function irqSet(index: number, eventfds: readonly number[]): Uint8Array {
  const bytes = sized(20 + 4 * eventfds.length);
  setU32(bytes, 4, (eventfds.length > 0 ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE) | VFIO_IRQ_SET_ACTION_TRIGGER);
  setU32(bytes, 8, index);
  setU32(bytes, 16, eventfds.length);
  eventfds.forEach((fd, i) => setI32(bytes, 20 + 4 * i, fd));
  return bytes;
}

/** Both ends are inside. Beyond 2^53 an address is rounded down, which makes a range smaller. */
export interface IovaRange {
  readonly start: number;
  readonly end: number;
}

/** The IOVA ranges in a struct vfio_iommu_type1_info with its chain of capabilities; undefined when the kernel gave none (before Linux 5.5). */
export function iovaRanges(info: Uint8Array): IovaRange[] | undefined {
  if ((getU32(info, 4) & VFIO_IOMMU_INFO_CAPS) === 0) return undefined;
  // A chain has no more links than fit, so one that runs in a circle ends.
  let at = getU32(info, 16);
  for (let links = info.length >>> 3; at !== 0 && links > 0; links--, at = getU32(info, at + 4)) {
    if ((getU32(info, at) & 0xffff) === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) return readRanges(info, at);
  }
  return undefined;
}

function readRanges(info: Uint8Array, at: number): IovaRange[] {
  const count = Math.min(getU32(info, at + 8), info.length >>> 4);
  const bound = (value: bigint): number => Number(value > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(Number.MAX_SAFE_INTEGER) : value);
  return Array.from({ length: count }, (_, i) => ({ start: bound(getU64(info, at + 16 + 16 * i)), end: bound(getU64(info, at + 24 + 16 * i)) }));
}
