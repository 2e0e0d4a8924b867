/**
 * What a running switch is asked from another terminal: one request a line, JSON (RFC 8259) in UTF-8, and one line of
 * answer for each, in order. `{ "id": 1, "request": "fdb", "bridge": "br-int" }` is answered by `{ "id": 1, "answer": [...] }`
 * or `{ "id": 1, "error": { "code": "ENOTFOUND", "message": "..." } }`.
 */
import { PollmodeError } from '../errors.js';

export const REQUESTS = ['show', 'ports', 'fdb', 'flows', 'reload', 'stop'] as const;
export type RequestName = typeof REQUESTS[number];

export interface ControlRequest {
  /** Comes back with the answer. Default 0. */
  readonly id?: number;
  readonly request: RequestName;
  /** fdb: of that bridge only. */
  readonly bridge?: string;
  /** fdb, flows: at most so many, 1 to 65536. Default 1000. */
  readonly limit?: number;
}

export type ControlAnswer =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: { readonly code: string; readonly message: string } };

/** Characters of a request: more than any has. */
export const LONGEST_REQUEST = 1024;
const MOST = 65_536;
export const DEFAULT_LIMIT = 1000;

/** A stranger's line. Throws EFORMAT. */
export function parseRequest(line: string): Required<ControlRequest> {
  const value = parse(line);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('is no object');
  const { id = 0, request, bridge = '', limit = DEFAULT_LIMIT, ...more } = value as Record<string, unknown>;
  const [surplus] = Object.keys(more);
  if (surplus !== undefined) return refuse(`has the field ${shown(surplus)}, which there is not`);
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) return refuse(`has the id ${shown(id)}, which is no whole number`);
  if (!REQUESTS.some(each => each === request)) return refuse(`asks for ${shown(request)}: there are ${REQUESTS.join(', ')}`);
  if (typeof bridge !== 'string' || bridge.length > 64) return refuse(`has the bridge ${shown(bridge)}, which is no name`);
  if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1 || limit > MOST) return refuse(`has the limit ${shown(limit)}: give a whole number from 1 to ${MOST}`);
  return { id, request: request as RequestName, bridge, limit };
}

/** The request's own number, where it has one, so that a refusal can be told apart too. */
export function idOf(line: string): number {
  try {
    const { id } = JSON.parse(line) as { id?: unknown };
    return typeof id === 'number' && Number.isSafeInteger(id) ? id : 0;
  } catch {
    return 0;
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return refuse('is no JSON');
  }
}

function refuse(why: string): never {
  throw new PollmodeError('EFORMAT', `The request ${why}. Write { "id": 1, "request": "show" }, one on a line.`);
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
}
