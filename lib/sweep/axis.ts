/** Axes for the hand-drawn SVG: where the ticks stand and how a value becomes a place. */
export interface Axis {
  readonly ticks: readonly number[];
  /** 0 at the axis' foot, 1 at its head; what lies below a log axis is drawn at its foot. */
  place(value: number): number;
}

/** From 0 to a round number at or above `max`, in steps of 1, 2 or 5 times a power of ten; about `steps` of them. */
export function linearAxis(max: number, steps = 5): Axis {
  const top = max > 0 ? max : 1;
  const rough = top / steps;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? power * 10;
  const last = Math.max(1, Math.ceil(top / step - 1e-9));
  const ticks = Array.from({ length: last + 1 }, (_, index) => Number((index * step).toPrecision(12)));
  return { ticks, place: (value) => value / (last * step) };
}

/** Decades around [min, max], with steps of 1, 2 and 5 where they are few; both positive. */
export function logAxis(min: number, max: number): Axis {
  const low = Math.floor(Math.log10(min) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(max) - 1e-9));
  const steps = high - low <= 2 ? [1, 2, 5] : [1];
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => steps.map((step) => Number(`${step}e${low + index}`))).flat().filter((tick) => tick <= Number(`1e${high}`));
  return { ticks, place: (value) => value <= 0 ? 0 : Math.max(0, (Math.log10(value) - low) / (high - low)) };
}

/** Bursts on a log2 axis from the least to the greatest; a single one stands in the middle. */
export function burstAxis(bursts: readonly number[]): Axis {
  const low = Math.log2(bursts[0] ?? 1);
  const span = Math.log2(bursts[bursts.length - 1] ?? 1) - low;
  return { ticks: bursts, place: (value) => span === 0 ? 0.5 : (Math.log2(value) - low) / span };
}
