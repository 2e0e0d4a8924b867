/** A strict reader of the HTML and SVG that this project writes: every element is closed in order, every attribute quoted. */
export interface Element { readonly name: string; readonly attributes: ReadonlyMap<string, string> }
export interface Parsed { readonly elements: readonly Element[]; readonly text: string; readonly raw: readonly string[] }

const VOID = new Set(['meta', 'link', 'input', 'br', 'img']);
const RAW = new Set(['script', 'style']);
const TAG = /^<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"<>]*")?)*)\s*(\/?)>/;

/** Throws an Error at the first thing that is not well-formed. `raw` holds the contents of script and style. */
export function parseHtml(source: string): Parsed {
  const elements: Element[] = [];
  const open: string[] = [];
  const raw: string[] = [];
  let text = '';
  let rest = source.replace(/^<!DOCTYPE html>/, '').replace(/<!--[^]*?-->/g, '');
  while (rest !== '') {
    const next = rest.indexOf('<');
    if (next === -1 && open.length === 0) break;
    if (next === -1) throw new Error(`not closed: ${open.join(' > ')}`);
    text += rest.slice(0, next);
    rest = rest.slice(next);
    const tag = TAG.exec(rest);
    if (tag === null) throw new Error(`no tag: ${rest.slice(0, 60)}`);
    rest = rest.slice(tag[0].length);
    const [, closing, name, attributes, selfClosing] = tag;
    if (closing !== '') {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
      continue;
    }
    elements.push({ name, attributes: readAttributes(attributes) });
    if (VOID.has(name) || selfClosing !== '') continue;
    if (!RAW.has(name)) { open.push(name); continue; }
    const end = rest.indexOf(`</${name}`);
    raw.push(rest.slice(0, end));
    rest = rest.slice(rest.indexOf('>', end) + 1);
  }
  if (open.length > 0) throw new Error(`not closed: ${open.join(' > ')}`);
  return { elements, text: decode(text), raw };
}

function readAttributes(source: string): Map<string, string> {
  return new Map([...source.matchAll(/([\w:-]+)(?:="([^"]*)")?/g)].map((match) => [match[1], decode(match[2] ?? '')]));
}

function decode(text: string): string {
  return text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&quot;/g, '"').replace(/&#39;/g, "'").replace(/&amp;/g, '&');
}
