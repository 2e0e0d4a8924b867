/** How far a long form (POLLMODE_LONG=1) has come: a line for each tenth, beside the test's own output. */
export function progress(name: string, all: number): (done: number) => void {
  let tenths = 0;
  const start = performance.now();
  return done => {
    if (process.env['POLLMODE_LONG'] !== '1' || done < all * (tenths + 1) / 10) return;
    tenths = Math.floor(done / all * 10);
    process.stderr.write(`${name}: ${done} of ${all} after ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
  };
}
