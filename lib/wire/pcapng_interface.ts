import { IF_FCSLEN, IF_TSOFFSET, IF_TSRESOL, OPTION_END } from './pcap_layout.js';
import { timeScale, type TimeScale } from './pcap_time.js';
import type { CaptureWindow } from './pcap_window.js';

/** What frames need to know of the interface that they came in by. */
export interface CaptureInterface {
  readonly linkType: number;
  /** Bytes; Infinity for no limit. */
  readonly snapLength: number;
  /** Bytes of FCS behind each frame. */
  readonly fcs: number;
  readonly scale: TimeScale;
}

const TWO_32 = 0x100000000;

/**
 * The options of an interface description block (section 4.2) that change what its frames say. They are read through
 * the window one by one, since a block may be larger than that. An option of a wrong length is passed over (section 3.5
 * allows it).
 */
export class InterfaceOptions {
  /** Bytes of FCS. */
  fcs = 0;
  #resolution = 6;
  #offset = 0;
  readonly #window: CaptureWindow;
  readonly #littleEndian: boolean;

  constructor(window: CaptureWindow, littleEndian: boolean) {
    this.#window = window;
    this.#littleEndian = littleEndian;
  }

  /** Reads options from the window's next `left` bytes. Returns how many of those are left then, -1 where the file ends before. */
  read(left: number): number {
    const window = this.#window;
    while (left >= 4) {
      if (!window.need(4)) return -1;
      const code = window.view.getUint16(window.at, this.#littleEndian);
      const length = window.view.getUint16(window.at + 2, this.#littleEndian);
      const whole = length + (-length & 3);
      window.at += 4;
      left -= 4;
      if (code === OPTION_END || whole > left) return left;
      if (length <= 8) {
        if (!window.need(whole)) return -1;
        this.#take(code, length, window.at);
      }
      if (!window.pass(whole)) return -1;
      left -= whole;
    }
    return left;
  }

  scale(): TimeScale {
    return timeScale(this.#resolution, this.#offset);
  }

  #take(code: number, length: number, at: number): void {
    const { view } = this.#window;
    if (code === IF_TSRESOL && length === 1) this.#resolution = view.getUint8(at);
    if (code === IF_FCSLEN && length === 1) this.fcs = octetsOfFcs(view.getUint8(at));
    if (code === IF_TSOFFSET && length === 8) {
      const [high, low] = this.#littleEndian ? [at + 4, at] : [at, at + 4];
      this.#offset = view.getInt32(high, this.#littleEndian) * TWO_32 + view.getUint32(low, this.#littleEndian);
    }
  }
}

/** The draft says bits and gives the example 4; Wireshark reads octets. Ethernet's FCS is 32 bits, 4 octets: both mean that. */
function octetsOfFcs(value: number): number {
  return value === 4 || value === 32 ? 4 : 0;
}
