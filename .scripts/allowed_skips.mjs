// The only reasons for which a test may be left out where skips are forbidden (POLLMODE_NO_SKIPS=1, as in CI), and why
// each one stands. `reason` is matched against the reason that the test prints.
export const allowedSkips = [
  {
    reason: /zero-?copy/i,
    why: 'veth and the other drivers of a plain host have no zero-copy AF_XDP; a VM with igb or virtio-net is where it shows.',
  },
  {
    reason: /needs a browser/,
    why: 'chromium is half a gigabyte, for one page: CI installs none. The page\'s figures, text and policy are tested without one; who has one tests what it does when it is pointed at.',
  },
];

/** The entry that allows this reason, or undefined. */
export function allowance(reason) {
  return allowedSkips.find(entry => entry.reason.test(reason));
}
