/** What every NIC behind VFIO has: registers and descriptor rings in the arena, the pool's buffers mapped for it, interrupts. */
import type { Memzone } from '../../../../arena/directory.js';
import { PAGE } from '../../../../arena/layout.js';
import { PollmodeError } from '../../../../errors.js';
import { chooseIovaBase, VfioDevice } from '../../../../kernel/vfio.js';
import { VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from '../../../../kernel/vfio_uapi.js';
import type { PortHost } from '../../../port.js';
import { Registers, type RegisterRow } from './registers.js';

/** What a driver asks of its device: a NicDevice, or what a test makes of a model and plain memory. */
export interface Nic {
  /** What is added to an offset in the arena to make an IOVA; a multiple of 2^32. */
  readonly iova: number;
  /** Readable when the system wants the device back; -1: it cannot say so. */
  readonly removal: number;
  /** A BAR's first `bytes`, with the names of its registers. Throws EUNSUPPORTED. */
  registers<Name extends string>(index: number, bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name>;
  /** Memory that the device reads and writes: descriptors. Zeroed. */
  dma(name: string, bytes: number): Memzone;
  /** Memory of the driver that the device cannot reach. Zeroed. */
  memory(name: string, bytes: number, align?: number): Memzone;
  /** As NicDevice's. */
  vectors(count: number): number[];
  /** Whether the device may start transfers. */
  busMaster(on: boolean): void;
  /** The device can reach no memory from here on. */
  close(): void;
}

/** The IOMMU's smallest page. */

/** A device in the hands of a port: closed once, and then nothing of it is left in the arena. */
export class NicDevice implements Nic {
  readonly vfio: VfioDevice;
  /** The constant of this container: an IOVA is it and the offset in the arena. A multiple of 2^32. */
  readonly iova: number;
  /** Readable when the system wants the device back (an unplug, an unbind), which then waits until it is closed; -1 where VFIO has no such interrupt. */
  readonly removal: number;
  readonly #host: PortHost;
  readonly #zones: Memzone[] = [];

  /** Opens it and maps the pool's buffers for it; `token` as VfioDevice's. Throws as VfioDevice, and EMEMLOCK. */
  constructor(host: PortHost, address: string, token = '') {
    this.#host = host;
    this.vfio = new VfioDevice(address, token);
    try {
      this.iova = chooseIovaBase(this.vfio.ranges, host.arena.size);
      this.removal = this.vfio.irqs(VFIO_PCI_REQ_IRQ_INDEX) > 0 ? this.vfio.signal(VFIO_PCI_REQ_IRQ_INDEX, 1)[0]! : -1;
      this.#map(host.pool.buffers);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** A BAR's first `bytes` over the arena; a device that goes while it is mapped costs a page, not the process. Throws EUNSUPPORTED. */
  bar(index: number, bytes: number): Memzone {
    const region = this.vfio.region(index);
    if (region.size < bytes || !region.mappable) {
      throw new PollmodeError('EUNSUPPORTED', `${this.vfio.pci.address}: its BAR ${index} has ${region.size} bytes${region.mappable ? '' : ' that cannot be mapped'} and ${bytes} are needed: it is not the device that its IDs say, or in a state that only a cold start mends.`);
    }
    return this.#keep(this.#host.arena.overlay(this.#name(`bar${index}`), bytes, this.vfio.fd, { fdOffset: region.offset, guard: true }));
  }

  registers<Name extends string>(index: number, bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name> {
    return new Registers(this.#host.arena, this.bar(index, bytes).offset, rows);
  }

  dma(name: string, bytes: number): Memzone {
    const zone = this.memory(name, Math.ceil(bytes / PAGE) * PAGE, PAGE);
    this.#map(zone);
    return zone;
  }

  memory(name: string, bytes: number, align = 64): Memzone {
    return this.#keep(this.#host.arena.reserve(this.#name(name), bytes, { align }));
  }

  /** MSI-X vectors as eventfds, the first `count`. Throws EUNSUPPORTED, ESYSCALL. */
  vectors(count: number): number[] {
    const most = this.vfio.irqs(VFIO_PCI_MSIX_IRQ_INDEX);
    if (most < count) throw new PollmodeError('EUNSUPPORTED', `${this.vfio.pci.address} has ${most} MSI-X vectors and ${count} are needed: use another NIC.`);
    return this.vfio.signal(VFIO_PCI_MSIX_IRQ_INDEX, count);
  }

  busMaster(on: boolean): void {
    this.vfio.busMaster(on);
  }

  /** The device can reach no memory from here on, and nothing of it is left in the arena. */
  close(): void {
    this.vfio.close();
    for (const zone of this.#zones.splice(0)) this.#host.arena.release(zone);
  }

  #map({ name, offset, length }: Memzone): void {
    if (length % PAGE !== 0 || offset % PAGE !== 0) throw new PollmodeError('EPOOL', `${name} has ${length} bytes at ${offset}, and a device is given whole pages of ${PAGE}, all of them: choose an even number of mbufs.`);
    this.vfio.map(this.#host.arena.u8, offset, length, this.iova + offset);
  }

  #keep(zone: Memzone): Memzone {
    this.#zones.push(zone);
    return zone;
  }

  #name(part: string): string {
    return `port/${this.#host.number}/vfio/${part}`;
  }
}
