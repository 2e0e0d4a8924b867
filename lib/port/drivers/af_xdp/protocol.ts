/**
 * What a broker and its client say to each other. One connection of SOCK_SEQPACKET, one JSON object in each message, of
 * at most 1024 bytes of UTF-8; the client asks, the broker answers each request once.
 *
 *   client  {"pollmode":1,"request":"open","device":"eth0","queue":0,"take":"socket"}       take: socket or map
 *   broker  {"pollmode":1,"answer":"socket","program":"native","netns":"4026",              answer: what was taken;
 *            "link":{"ifindex":7,"mac":"02:..","mtu":1500,"queues":4,"kind":"veth"}}        beside it one descriptor
 *   client  {"pollmode":1,"request":"enter","queue":0}                                      once it has bound
 *   broker  {"pollmode":1,"answer":"entered"}
 *   broker  {"pollmode":1,"answer":"refused","code":"EBUSYQUEUE","why":"..."}               to either request
 *
 * `open` leases the queue to the connection. With `socket` the descriptor is a new AF_XDP socket of the broker's network
 * namespace, tied to the interface: the client registers its memory, makes its rings and binds it, none of which takes a
 * right. With `map` it is the XSKMAP, for a socket of the client's own. `enter` has the broker put its own copy of the
 * socket into the XSKMAP, or, with `map`, the socket that comes beside the request; without one the client says that it
 * has done so itself. The lease ends with the connection, and a refusal ends both. A connection may hold several queues.
 *
 * Both sides check all that they read, close descriptors that they did not ask for, and end the conversation at the
 * first breach.
 */
import { PollmodeError, type ErrorCode } from '../../../errors.js';
import { MAX_PORT_QUEUE } from '../../layout.js';

export const PROTOCOL = 1;
export const MESSAGE_LIMIT = 1024;

export type Take = 'socket' | 'map';

export type Request =
  | { readonly request: 'open'; readonly device: string; readonly queue: number; readonly take: Take }
  | { readonly request: 'enter'; readonly queue: number };

/** What is worth knowing of the broker's interface, which may be out of the client's sight. */
export interface GrantedLink {
  readonly ifindex: number;
  /** "02:00:00:00:00:01", or empty. */
  readonly mac: string;
  readonly mtu: number;
  readonly queues: number;
  readonly kind: string;
}

export interface Grant {
  readonly answer: Take;
  /** Where the broker's XDP program runs. */
  readonly program: 'native' | 'generic' | 'hardware';
  /** Of the interface (SO_NETNS_COOKIE); empty where the kernel does not say. */
  readonly netns: string;
  readonly link: GrantedLink;
}

export interface Refusal {
  readonly answer: 'refused';
  readonly code: ErrorCode;
  readonly why: string;
}

export type BrokerAnswer = Grant | Refusal | { readonly answer: 'entered' };

/** The codes that a broker may refuse with. */
const CODES: readonly ErrorCode[] = ['EBUSYQUEUE', 'EDOWN', 'EFORMAT', 'ENOTFOUND', 'EOPTION', 'ERIGHTS', 'ESYSCALL', 'EUNSUPPORTED'];

export function encodeMessage(message: Request | BrokerAnswer): string {
  return JSON.stringify({ pollmode: PROTOCOL, ...message });
}

/** A refusal that fits into a message whatever the sentence. */
export function refusal(code: ErrorCode, why: string): Refusal {
  return { answer: 'refused', code: CODES.includes(code) ? code : 'ESYSCALL', why: printable(why) };
}

/** Throws EFORMAT, with the fault. */
export function parseRequest(text: string): Request {
  const fields = readFields(text);
  const request = fields.choice('request', ['open', 'enter']);
  const queue = fields.whole('queue', 0, MAX_PORT_QUEUE);
  if (request === 'enter') return { request, queue };
  return { request, device: fields.text('device', /^[^\0/:\s]{1,15}$/), queue, take: fields.choice('take', ['socket', 'map']) };
}

/** Throws EFORMAT, with the fault. */
export function parseAnswer(text: string): BrokerAnswer {
  const fields = readFields(text);
  const answer = fields.choice('answer', ['socket', 'map', 'entered', 'refused']);
  if (answer === 'entered') return { answer };
  if (answer === 'refused') return { answer, code: fields.choice('code', CODES), why: printable(fields.text('why', /^/)) };
  const link = fields.fields('link');
  return {
    answer,
    program: fields.choice('program', ['native', 'generic', 'hardware']),
    netns: fields.text('netns', /^\d{0,20}$/),
    link: {
      ifindex: link.whole('ifindex', 1, 2 ** 31 - 1),
      mac: link.text('mac', /^(([0-9a-f]{2}:){5}[0-9a-f]{2})?$/),
      mtu: link.whole('mtu', 1, 2 ** 24),
      queues: link.whole('queues', 1, 65536),
      kind: link.text('kind', /^[\w.-]{0,31}$/),
    },
  };
}

function readFields(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw fault('it is no JSON');
  }
  const fields = new Fields(value);
  const version = fields.whole('pollmode', 0, 2 ** 31);
  if (version !== PROTOCOL) throw fault(`it is of protocol ${version}, and this is ${PROTOCOL}`);
  return fields;
}

/** The members of a JSON object, each read as what it must be. */
class Fields {
  readonly #members: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault('it is no JSON object');
    this.#members = value as Readonly<Record<string, unknown>>;
  }

  fields(name: string): Fields {
    return new Fields(this.#get(name));
  }

  whole(name: string, min: number, max: number): number {
    const value = this.#get(name);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) throw fault(`"${name}" is no whole number from ${min} to ${max}`);
    return value;
  }

  text(name: string, form: RegExp): string {
    const value = this.#get(name);
    if (typeof value !== 'string' || !form.test(value)) throw fault(`"${name}" is not of its form`);
    return value;
  }

  choice<const Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const value = this.#get(name);
    const found = choices.find(choice => choice === value);
    if (found === undefined) throw fault(`"${name}" is none of ${choices.join(', ')}`);
    return found;
  }

  #get(name: string): unknown {
    return Object.hasOwn(this.#members, name) ? this.#members[name] : undefined;
  }
}

function fault(why: string): PollmodeError {
  return new PollmodeError('EFORMAT', `A message could not be read: ${why}. Use the same version of pollmode at both ends.`);
}

/** A stranger's words, for a terminal. */
function printable(text: string): string {
  return text.slice(0, 400).replace(/[^\x20-\x7e]/g, '?');
}
