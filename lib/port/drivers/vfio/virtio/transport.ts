/** The modern PCI transport: virtio 1.2, section 4.1. Registers of 8, 16 and 32 bits, each accessed as wide as it is (4.1.3.1). */
import type { Arena } from '../../../../arena/arena.js';
import { PAGE } from '../../../../arena/layout.js';
import { PollmodeError } from '../../../../errors.js';
import type { NicDevice } from '../pci/device.js';
import { pause } from '../pci/registers.js';
import { readPlaces } from './capabilities.js';
import {
  CONFIG_GENERATION, CONFIG_VECTOR, DEVICE_FEATURE, DEVICE_FEATURE_SELECT, DEVICE_STATUS, DRIVER_FEATURE, DRIVER_FEATURE_SELECT, NO_VECTOR, NUM_QUEUES,
  QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER, QUEUE_ENABLE, QUEUE_NOTIFY_OFF, QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR,
} from './registers.js';

/** Every register of a device that is not there reads as all ones. */
const GONE = 0xff;
const RESET_MS = 1000;
/** A generation that changes in every look is a broken device's. */
const MOST_LOOKS = 100;

/** Where a ring is, as the device addresses it. */
export interface RingAddresses {
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** MSI-X vector; NO_VECTOR for none. */
  readonly vector: number;
}

/** A field by its offset, as wide as it is. */
export interface DeviceConfig {
  u8(field: number): number;
  u16(field: number): number;
  u32(field: number): number;
}

export class Transport {
  readonly #name: string;
  readonly #arena: Arena;
  /** Offsets in the arena. */
  readonly #common: number;
  readonly #notify: number;
  readonly #config: number;
  readonly #configBytes: number;
  readonly #notifyBytes: number;
  readonly #multiplier: number;

  /** Maps what it needs of the BARs. Throws EUNSUPPORTED. */
  constructor(name: string, arena: Arena, nic: NicDevice) {
    this.#name = name;
    this.#arena = arena;
    const { common, notify, device, multiplier } = readPlaces(nic.vfio);
    const bars = new Map<number, number>();
    for (const { bar, offset, bytes } of [common, notify, device]) bars.set(bar, Math.max(bars.get(bar) ?? 0, offset + bytes));
    const bases = new Map([...bars].map(([bar, bytes]) => [bar, nic.bar(bar, Math.ceil(bytes / PAGE) * PAGE).offset]));
    const at = ({ bar, offset }: { bar: number; offset: number }): number => bases.get(bar)! + offset;
    this.#common = at(common);
    this.#notify = at(notify);
    this.#notifyBytes = notify.bytes;
    this.#config = at(device);
    this.#configBytes = device.bytes;
    this.#multiplier = multiplier;
  }

  /** 4.1.4.3.2: writes 0 and waits until it reads 0. Returns whether it did; one that has gone never does. */
  reset(): boolean {
    this.#write8(DEVICE_STATUS, 0);
    for (let left = RESET_MS; this.status !== 0; left--) {
      if (left <= 0 || this.status === GONE) return false;
      pause(1);
    }
    return true;
  }

  /** All ones when the device has gone. */
  get status(): number {
    return Atomics.load(this.#arena.u8, this.#common + DEVICE_STATUS);
  }

  addStatus(bits: number): void {
    this.#write8(DEVICE_STATUS, this.status | bits);
  }

  get deviceFeatures(): bigint {
    return [0, 1].reduce((all, half) => {
      this.#write32(DEVICE_FEATURE_SELECT, half);
      return all | BigInt(Atomics.load(this.#arena.u32, (this.#common + DEVICE_FEATURE) >>> 2)) << BigInt(32 * half);
    }, 0n);
  }

  set driverFeatures(features: bigint) {
    for (const half of [0, 1]) {
      this.#write32(DRIVER_FEATURE_SELECT, half);
      this.#write32(DRIVER_FEATURE, Number((features >> BigInt(32 * half)) & 0xffffffffn));
    }
  }

  get queues(): number {
    return this.#read16(NUM_QUEUES);
  }

  /** The vector of configuration changes. Throws EUNSUPPORTED where the device has no room for it (4.1.5.1.2). */
  set configVector(vector: number) {
    this.#write16(CONFIG_VECTOR, vector);
    this.#expectVector(CONFIG_VECTOR, vector);
  }

  /** Most descriptors of a queue; 0 when it is not there. */
  queueSize(index: number): number {
    this.#write16(QUEUE_SELECT, index);
    return this.#read16(QUEUE_SIZE);
  }

  /** 4.1.5.1.3, and enables it. Returns the offset in the arena of its doorbell, a u16. Throws EUNSUPPORTED. */
  placeQueue(index: number, { size, desc, driver, device, vector }: RingAddresses): number {
    this.#write16(QUEUE_SELECT, index);
    this.#write16(QUEUE_SIZE, size);
    this.#write64(QUEUE_DESC, desc);
    this.#write64(QUEUE_DRIVER, driver);
    this.#write64(QUEUE_DEVICE, device);
    this.#write16(QUEUE_VECTOR, vector);
    this.#expectVector(QUEUE_VECTOR, vector);
    // 4.1.4.4: times the multiplier; inside the structure, or a store there would be anything.
    const further = this.#read16(QUEUE_NOTIFY_OFF) * this.#multiplier;
    if ((further & 1) !== 0 || further + 2 > this.#notifyBytes) throw this.#unsupported(`queue ${index} has its doorbell outside its BAR`);
    this.#write16(QUEUE_ENABLE, 1);
    return this.#notify + further;
  }

  /** What `read` makes of the device's own configuration; once more when that changed meanwhile (2.5.1). */
  readConfig<T>(read: (config: DeviceConfig) => T): T {
    for (let looks = 1; ; looks++) {
      const before = this.#generation;
      const value = read(this.config);
      if (this.#generation === before || looks === MOST_LOOKS) return value;
    }
  }

  /** Fields past the structure's end read as 0. */
  readonly config: DeviceConfig = {
    u8: field => field + 1 <= this.#configBytes ? Atomics.load(this.#arena.u8, this.#config + field) : 0,
    u16: field => field + 2 <= this.#configBytes ? Atomics.load(this.#arena.u16, (this.#config + field) >>> 1) : 0,
    u32: field => field + 4 <= this.#configBytes ? Atomics.load(this.#arena.u32, (this.#config + field) >>> 2) : 0,
  };

  get #generation(): number {
    return Atomics.load(this.#arena.u8, this.#common + CONFIG_GENERATION);
  }

  #expectVector(field: number, vector: number): void {
    if (vector !== NO_VECTOR && this.#read16(field) !== vector) throw this.#unsupported(`it has no room for interrupt vector ${vector}`);
  }

  #unsupported(why: string): PollmodeError {
    return new PollmodeError('EUNSUPPORTED', `${this.#name}: the virtio device cannot be used, ${why}: give the machine another (QEMU: virtio-net-pci with vectors= two for each pair of queues and two more).`);
  }

  #read16(field: number): number {
    return Atomics.load(this.#arena.u16, (this.#common + field) >>> 1);
  }

  // Plain stores: an atomic one would read the register too.
  #write8(field: number, value: number): void {
    this.#arena.u8[this.#common + field] = value;
  }

  #write16(field: number, value: number): void {
    this.#arena.u16[(this.#common + field) >>> 1] = value;
  }

  #write32(field: number, value: number): void {
    this.#arena.u32[(this.#common + field) >>> 2] = value;
  }

  #write64(field: number, value: number): void {
    this.#write32(field, value % 2 ** 32);
    this.#write32(field + 4, Math.floor(value / 2 ** 32));
  }
}
