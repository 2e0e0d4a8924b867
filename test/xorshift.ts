/** A stream of numbers below a bound, the same for the same seed (Marsaglia, "Xorshift RNGs", 2003): for threads that write as fast as they can. */
export function xorshift(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return below => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
