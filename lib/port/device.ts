import { PollmodeError } from '../errors.js';
import type { OptionSpec, PortDriver } from './port.js';

/**
 * Device strings, in DPDK's manner: `driver:device,key=value,flag`. The device and the options may be missing
 * (`null:`). A comma or a backslash in a value is written with a backslash before it; so is the first "=" of a device
 * that would read as key=value (`pcap:a\\=b.pcap`).
 */
export interface DeviceString {
  readonly driver: string;
  readonly device: string;
  readonly options: ReadonlyMap<string, string>;
}

/** Longer ones are refused unread: nobody writes them by hand. */
const MAX_DEVICE_STRING = 4096;
const CONTROL = /[\0-\x1f\x7f]/;

/** Throws EDEVICE, with the place of the fault. */
export function parseDevice(text: string): DeviceString {
  const refuse = (why: string): never => { throw new PollmodeError('EDEVICE', `Device string ${quote(text)}: ${why}. Write driver:device,key=value — for example af_xdp:eth0,queues=2.`); };
  if (typeof text !== 'string' || text.length > MAX_DEVICE_STRING) return refuse(`it must be a string of at most ${MAX_DEVICE_STRING} characters`);
  const match = /^([a-z][a-z0-9_]*):/.exec(text);
  if (match === null) return refuse('it must start with a driver\'s name and a colon');
  if (CONTROL.test(text)) return refuse('it has a control character');
  const parts = splitCommas(text.slice(match[0].length));
  // "pcap:,tx=out" and "null:size=512" both leave the device out.
  const device = /^[a-z][a-z0-9_]*=/.test(parts[0]!) ? '' : unescape(parts.shift()!);
  const options = new Map<string, string>();
  for (const part of parts) {
    const equals = part.indexOf('=');
    const key = equals < 0 ? part : part.slice(0, equals);
    if (!/^[a-z][a-z0-9_]*$/.test(key)) refuse(`"${printable(part)}" is no key=value`);
    if (options.has(key)) refuse(`"${key}" is there twice`);
    options.set(key, unescape(equals < 0 ? 'true' : part.slice(equals + 1)));
  }
  return { driver: match[1]!, device, options };
}

/** The typed options of a driver. Throws EDEVICE for an unknown or malformed one, and names those that there are. */
export function readOptions<Options extends object>(driver: PortDriver<Options>, text: string): Options {
  const { device, options } = parseDevice(text);
  const table = driver.options as Record<string, OptionSpec>;
  const read: Record<string, string | number | boolean> = {};
  if (device !== '' && !Object.hasOwn(table, 'device')) throw new PollmodeError('EDEVICE', `Device string ${quote(text)}: ${driver.name} takes no device: write ${driver.name}: and options behind it (${optionNames(table)}).`);
  if (device !== '') read['device'] = device;
  for (const [key, value] of options) {
    const name = camel(key);
    const spec = Object.hasOwn(table, name) ? table[name] : undefined;
    if (spec === undefined || name === 'device') throw new PollmodeError('EDEVICE', `Device string ${quote(text)}: ${driver.name} has no option "${printable(key)}". It has: ${optionNames(table)}.`);
    read[name] = readValue(spec, value, wanted => { throw new PollmodeError('EDEVICE', `Device string ${quote(text)}: ${key}=${printable(value)} — give ${wanted}.`); });
  }
  for (const [name, spec] of Object.entries(table)) {
    if (spec.required === true && read[name] === undefined) throw new PollmodeError('EDEVICE', `Device string ${quote(text)}: ${driver.name} needs ${name === 'device' ? `something after the colon: ${spec.help}` : `${snake(name)}=: ${spec.help}`}.`);
  }
  return read as unknown as Options;
}

/** Checks options that came as an object, as strictly as those from a string. Throws EOPTION. */
export function checkOptions<Options extends object>(driver: PortDriver<Options>, given: Record<string, unknown>): Options {
  const table = driver.options as Record<string, OptionSpec>;
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const spec = Object.hasOwn(table, name) ? table[name] : undefined;
    if (spec === undefined) throw new PollmodeError('EOPTION', `${driver.name} has no option "${printable(name)}". It has: ${Object.keys(table).join(', ')}.`);
    const refuse = (wanted: string): never => { throw new PollmodeError('EOPTION', `${driver.name}: the option "${name}" is ${described(value)} — give ${wanted}.`); };
    if (typeof value !== TYPES[spec.type]) refuse(`a ${TYPES[spec.type]}`);
    read[name] = readValue(spec, String(value), refuse);
  }
  for (const [name, spec] of Object.entries(table)) {
    if (spec.required === true && read[name] === undefined) throw new PollmodeError('EOPTION', `${driver.name} needs the option "${name}": ${spec.help}.`);
  }
  return read as unknown as Options;
}

/** What an option's value is in an object. */
const TYPES = { text: 'string', choice: 'string', flag: 'boolean', count: 'number', size: 'number' } as const;

function readValue(spec: OptionSpec, value: string, refuse: (wanted: string) => never): string | number | boolean {
  switch (spec.type) {
    case 'text':
      if (value === '' || value.length > MAX_DEVICE_STRING || CONTROL.test(value)) refuse(`a text of at most ${MAX_DEVICE_STRING} characters, without control characters`);
      return value;
    case 'choice': return spec.choices!.includes(value) ? value : refuse(`one of ${spec.choices!.join(', ')}`);
    case 'flag':
      if (value === 'true' || value === '1' || value === 'on') return true;
      return value === 'false' || value === '0' || value === 'off' ? false : refuse('1 or 0');
    case 'count':
    case 'size': {
      const { min = 0, max = 2 ** 32 } = spec;
      const number = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
      return number >= min && number <= max ? number : refuse(`a whole number from ${min} to ${max}`);
    }
  }
}

function splitCommas(text: string): string[] {
  const parts = [''];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && i + 1 < text.length) parts[parts.length - 1] += text.slice(i, ++i + 1);
    else if (text[i] === ',') parts.push('');
    else parts[parts.length - 1] += text[i];
  }
  return parts;
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, '$1');
}

function optionNames(table: Record<string, OptionSpec>): string {
  return Object.keys(table).filter(name => name !== 'device').map(snake).join(', ') || 'none';
}

/** busy_poll in a device string is busyPoll in an object. */
function camel(key: string): string {
  return key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}

function printable(text: string): string {
  return text.slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
}

/** A value that may be anything, for a person. */
function described(value: unknown): string {
  return typeof value === 'string' ? quote(value) : typeof value === 'number' || typeof value === 'boolean' ? String(value) : `of type ${value === null ? 'null' : typeof value}`;
}

function quote(text: unknown): string {
  return `"${printable(String(text))}"`;
}
