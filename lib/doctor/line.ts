/** What doctor says: lines, each with a reason and a mend where something is not as it could be. */

export const AREAS = ['kernel', 'program', 'rights', 'memory', 'processors', 'interfaces', 'passthrough', 'devices', 'journal', 'drivers'] as const;
export type Area = (typeof AREAS)[number];

/** `info` is worth knowing and asks for nothing; `warn` works, but not as well as it could; `missing` is not to be had here. */
export type Status = 'ok' | 'info' | 'warn' | 'missing';

export interface Line {
  readonly area: Area;
  readonly what: string;
  readonly status: Status;
  readonly value: string;
  /** With `warn` and `missing`, always: why it matters. */
  readonly reason?: string;
  /** With `warn` and `missing`, always: what to do. */
  readonly mend?: string;
}

/** A line before its check's area is put to it. */
export type Finding = Omit<Line, 'area'>;

export function ok(what: string, value: string): Finding {
  return { what, status: 'ok', value };
}

export function info(what: string, value: string, reason?: string): Finding {
  return { what, status: 'info', value, ...(reason === undefined ? {} : { reason }) };
}

export function warn(what: string, value: string, reason: string, mend: string): Finding {
  return { what, status: 'warn', value, reason, mend };
}

export function missing(what: string, value: string, reason: string, mend: string): Finding {
  return { what, status: 'missing', value, reason, mend };
}
