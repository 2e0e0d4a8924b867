/**
 * Strings and numbers on their way out. Names of devices, CPU models and reasons come from a machine or from a file
 * that somebody sent: each way out has its own escape, and none trusts another's.
 */

// Control and format characters (terminal escapes, bidirectional overrides, zero-width ones), lone surrogates, line ends.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** One line that neither steers a terminal nor reorders text: each unprintable character becomes U+FFFD. */
export function printable(text: string, limit = 400): string {
  const clean = text.replace(UNPRINTABLE, '\uFFFD');
  const characters = [...clean];
  return characters.length <= limit ? clean : `${characters.slice(0, limit).join('')}…`;
}

/** Text for HTML and SVG, for element contents and for attributes in double quotes. */
export function escapeHtml(text: string): string {
  return printable(text)
    .replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;').replace(/'/g, '&#39;');
}

/** JSON that may stand inside a `<script>` element: no `<` can end it or open a comment in it. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(/</g, '\\u003c').replace(/\u2028/g, '\\u2028').replace(/\u2029/g, '\\u2029');
}

/** Three significant digits without an exponent where a person still reads them: 0.00390, 1.94, 194, 19400. */
export function figure(value: number): string {
  if (value === 0) return '0';
  if (!Number.isFinite(value)) return '∞';
  if (Math.abs(value) >= 1e15 || Math.abs(value) < 1e-6) return value.toExponential(2);
  // Rounded first: 0.09996 has the decimals of 0.100, not those of 0.0999.
  const rounded = Number(value.toPrecision(3));
  return rounded.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)))));
}

/** Millions of packets per second. */
export function mpps(packetsPerSecond: number): string {
  return figure(packetsPerSecond / 1e6);
}

/** Billions (10^9) of bits per second. */
export function gbps(bitsPerSecond: number): string {
  return figure(bitsPerSecond / 1e9);
}

/** A ratio as people say it: 14×, 1.4×, 0.83×. */
export function times(ratio: number): string {
  return `${ratio >= 9.95 && Number.isFinite(ratio) ? ratio.toFixed(0) : ratio.toPrecision(2).replace('Infinity', '∞')}×`;
}

/** A count with thin groups of three digits, the same in every locale. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, '\u202F');
}

/** A share in percent; a loss that is not zero never prints as 0 %. */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0) return '0 %';
  if (Math.abs(value) < 0.01) return `${value < 0 ? '> −' : '< '}0.01 %`;
  return `${Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(2)} %`;
}

/** A part of a whole that is known to a few percent. */
export function roughPercent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
