/**
 * The two meters of DiffServ: a single-rate three-colour marker (RFC 2697) and a two-rate one (RFC 2698). A meter says
 * which colour a packet is and changes nothing; what follows from it is a police's affair (police.ts), or the program's.
 *
 * Sizes are bytes of IP packets, header included and link header not, as both RFCs have it (section 1): `ipLength`.
 */
import type { Arena } from '../arena/arena.js';
import { bytesPerSecond, rateText, refuse, whole, type Rate } from './checks.js';

export const GREEN = 0;
export const YELLOW = 1;
export const RED = 2;
export type Color = typeof GREEN | typeof YELLOW | typeof RED;

/** RFC 2697: committed information rate, committed and excess burst size in bytes; one of the two is above 0. */
export interface SrTcmSpec {
  readonly kind: 'srtcm';
  readonly cir: Rate;
  readonly cbs: number;
  readonly ebs: number;
}

/** RFC 2698: peak and committed information rates with their burst sizes in bytes; the peak is no less than the committed one. */
export interface TrTcmSpec {
  readonly kind: 'trtcm';
  readonly pir: Rate;
  readonly pbs: number;
  readonly cir: Rate;
  readonly cbs: number;
}

export type MeterSpec = SrTcmSpec | TrTcmSpec;

// f64 fields of a meter: rates in bytes per second, sizes in bytes, time in nanoseconds. Both kinds have two buckets:
// committed and excess (srTCM), committed and peak (trTCM).
const M_CIR = 0;
const M_PIR = 1;
const M_CBS = 2;
const M_OTHER_SIZE = 3;
const M_COMMITTED = 4;
const M_OTHER = 5;
const M_TIME = 6;
/** Packets and bytes of each colour. */
const M_PACKETS = 7;
const M_BYTES = 10;
export const METER_BYTES = 13 * 8;
const MOST_BURST = 2 ** 32;

export interface MeterReport {
  readonly kind: MeterSpec['kind'];
  readonly green: number;
  readonly yellow: number;
  readonly red: number;
  readonly greenBytes: number;
  readonly yellowBytes: number;
  readonly redBytes: number;
}

export class Meter {
  readonly kind: MeterSpec['kind'];
  private readonly f64: Float64Array;
  private readonly at: number;
  private readonly single: boolean;

  /** Over METER_BYTES of the arena at `offset`, a multiple of 8, with full buckets. Throws EOPTION. */
  constructor(arena: Pick<Arena, 'f64'>, offset: number, spec: MeterSpec, now = 0) {
    this.kind = spec.kind;
    this.single = spec.kind === 'srtcm';
    this.f64 = arena.f64;
    this.at = offset / 8;
    const [cir, pir, cbs, other] = checked(spec);
    [cir, pir, cbs, other, cbs, other, now].forEach((value, field) => { this.f64[this.at + field] = value; });
    this.f64.fill(0, this.at + M_PACKETS, this.at + METER_BYTES / 8);
  }

  /**
   * The colour of a packet of `bytes` that comes now, `f64[time]` nanoseconds. `before`: what colour it had already, for
   * the colour-aware mode; GREEN is colour-blind (RFC 2697 section 3, RFC 2698 section 3).
   */
  color(bytes: number, time: number, before: Color = GREEN): Color {
    const color = this.single ? this.srTcm(bytes, time, before) : this.trTcm(bytes, time, before);
    this.f64[this.at + M_PACKETS + color]!++;
    this.f64[this.at + M_BYTES + color]! += bytes;
    return color;
  }

  toJSON(): MeterReport {
    const packets = (color: Color): number => this.f64[this.at + M_PACKETS + color]!;
    const bytes = (color: Color): number => this.f64[this.at + M_BYTES + color]!;
    return { kind: this.kind, green: packets(GREEN), yellow: packets(YELLOW), red: packets(RED), greenBytes: bytes(GREEN), yellowBytes: bytes(YELLOW), redBytes: bytes(RED) };
  }

  /** Tokens come at CIR into the committed bucket, and while that is full into the excess one. */
  private srTcm(bytes: number, time: number, before: Color): Color {
    const { f64, at } = this;
    const fresh = f64[at + M_COMMITTED]! + this.elapsed(time) * f64[at + M_CIR]! / 1e9;
    const committed = Math.min(f64[at + M_CBS]!, fresh);
    const excess = Math.min(f64[at + M_OTHER_SIZE]!, f64[at + M_OTHER]! + fresh - committed);
    const green = before === GREEN && committed >= bytes;
    const yellow = !green && before !== RED && excess >= bytes;
    f64[at + M_COMMITTED] = green ? committed - bytes : committed;
    f64[at + M_OTHER] = yellow ? excess - bytes : excess;
    return green ? GREEN : yellow ? YELLOW : RED;
  }

  /** Each bucket fills at its own rate. A green packet takes from both, a yellow one from the peak's only. */
  private trTcm(bytes: number, time: number, before: Color): Color {
    const { f64, at } = this;
    const elapsed = this.elapsed(time);
    const peak = Math.min(f64[at + M_OTHER_SIZE]!, f64[at + M_OTHER]! + elapsed * f64[at + M_PIR]! / 1e9);
    const committed = Math.min(f64[at + M_CBS]!, f64[at + M_COMMITTED]! + elapsed * f64[at + M_CIR]! / 1e9);
    const red = before === RED || peak < bytes;
    const green = !red && before === GREEN && committed >= bytes;
    f64[at + M_OTHER] = red ? peak : peak - bytes;
    f64[at + M_COMMITTED] = green ? committed - bytes : committed;
    return red ? RED : green ? GREEN : YELLOW;
  }

  /** Nanoseconds since the last packet; a clock that went back has stood still. */
  private elapsed(time: number): number {
    const { f64, at } = this;
    const elapsed = f64[time]! - f64[at + M_TIME]!;
    if (!(elapsed > 0)) return 0;
    f64[at + M_TIME] = f64[time]!;
    return elapsed;
  }
}

/** CIR, PIR, CBS and the other bucket's size. */
function checked(spec: MeterSpec): [number, number, number, number] {
  if (spec.kind === 'srtcm') {
    const [cbs, ebs] = [whole('srtcm: cbs', spec.cbs, 0, MOST_BURST), whole('srtcm: ebs', spec.ebs, 0, MOST_BURST)];
    if (cbs + ebs === 0) refuse('srtcm: cbs and ebs are both 0, and every packet would be red: give one of them the size of the largest packet, or more.');
    return [bytesPerSecond('srtcm: cir', spec.cir), 0, cbs, ebs];
  }
  const [cir, pir] = [bytesPerSecond('trtcm: cir', spec.cir), bytesPerSecond('trtcm: pir', spec.pir)];
  if (pir < cir) refuse(`trtcm: pir ${rateText(pir)} is less than cir ${rateText(cir)}: give a peak rate that is as high or higher.`);
  return [cir, pir, whole('trtcm: cbs', spec.cbs, 1, MOST_BURST), whole('trtcm: pbs', spec.pbs, 1, MOST_BURST)];
}
