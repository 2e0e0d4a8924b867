/**
 * How a path looks, the same in every chart: a colour for the light and the dark page, a dash pattern and a marker, so
 * that colour alone never carries the difference. The hues are in the manner of Okabe and Ito ("Color Universal
 * Design", 2008), darkened or lightened until a line has a contrast of at least 3:1 on its page (WCAG 2.1, 1.4.11).
 */
import { KNOWN_PATHS } from './model.js';

export type Marker = 'circle' | 'square' | 'triangle' | 'diamond' | 'cross' | 'plus';

export interface Look {
  readonly light: string;
  readonly dark: string;
  /** Canvas and SVG dash lengths in CSS pixels; empty for a solid line. */
  readonly dash: readonly number[];
  readonly marker: Marker;
}

const LOOKS: readonly Look[] = [
  { light: '#0067a8', dark: '#5ab8f0', dash: [], marker: 'circle' },
  { light: '#c24e00', dark: '#f59a4a', dash: [9, 4], marker: 'square' },
  { light: '#00795a', dark: '#35c79b', dash: [2, 3], marker: 'triangle' },
  { light: '#a3407f', dark: '#e494c3', dash: [10, 3, 2, 3], marker: 'diamond' },
  { light: '#7a6400', dark: '#e0c845', dash: [5, 3], marker: 'cross' },
  { light: '#555555', dark: '#bdbdbd', dash: [14, 4], marker: 'plus' },
];

/** Known paths keep their look whatever else a file holds; others share the colours with them, and differ by marker and dash. */
export function looksOf(paths: readonly string[]): Map<string, Look> {
  const others = paths.filter((path) => !isKnown(path));
  return new Map(paths.map((path) => [path, isKnown(path) ? LOOKS[known(path)] : otherLook(others.indexOf(path))]));
}

function otherLook(index: number): Look {
  const markers: readonly Marker[] = ['plus', 'cross', 'diamond', 'triangle', 'square', 'circle'];
  return { ...LOOKS[LOOKS.length - 1 - (index % LOOKS.length)], marker: markers[(index + 1) % markers.length], dash: [2 + index, 3] };
}

function known(path: string): number {
  return (KNOWN_PATHS as readonly string[]).indexOf(path);
}

function isKnown(path: string): boolean {
  return known(path) >= 0;
}

/** The `d` of an SVG path for a marker of about 8 units across around (x, y). */
export function markerPath(marker: Marker, x: number, y: number): string {
  const at = (dx: number, dy: number): string => `${round(x + dx)} ${round(y + dy)}`;
  switch (marker) {
    case 'circle': return `M${at(-4, 0)}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z`;
    case 'square': return `M${at(-3.5, -3.5)}h7v7h-7z`;
    case 'triangle': return `M${at(0, -4.5)}L${at(4.5, 3.5)}L${at(-4.5, 3.5)}z`;
    case 'diamond': return `M${at(0, -5)}L${at(5, 0)}L${at(0, 5)}L${at(-5, 0)}z`;
    case 'cross': return `M${at(-4, -4)}l8 8M${at(-4, 4)}l8-8`;
    case 'plus': return `M${at(-4.5, 0)}h9M${at(0, -4.5)}v9`;
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
