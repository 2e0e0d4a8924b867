import { accessSync, constants, existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';

/** Longer than any file of /proc and /sys that is asked for here. */
const LONGEST = 1 << 16;

/**
 * /proc, /sys and /dev as they are, or as a folder holds them: a whole machine can be described by a tree of files. Only
 * ever reads; what is not there, or may not be read, is undefined.
 */
export class Files {
  readonly #root: string;

  constructor(root = '') {
    this.#root = root === '' ? '' : realpathSync(root);
  }

  /** Without the white space around it. */
  text(path: string): string | undefined {
    try {
      return readFileSync(this.#root + path, 'utf8').slice(0, LONGEST).trim();
    } catch {
      return undefined;
    }
  }

  number(path: string): number | undefined {
    const text = this.text(path);
    return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  }

  /** Names in a folder, in order; none where there is no folder. */
  list(path: string): string[] {
    try {
      return readdirSync(this.#root + path).sort((one, other) => one.localeCompare(other, 'en', { numeric: true }));
    } catch {
      return [];
    }
  }

  exists(path: string): boolean {
    return existsSync(this.#root + path);
  }

  /** May this process read and write it? */
  access(path: string): 'yes' | 'denied' | 'absent' {
    if (!this.exists(path)) return 'absent';
    try {
      accessSync(this.#root + path, constants.R_OK | constants.W_OK);
      return 'yes';
    } catch {
      return 'denied';
    }
  }

  /** Where a path leads in the end. */
  real(path: string): string | undefined {
    try {
      return realpathSync(this.#root + path).slice(this.#root.length);
    } catch {
      return undefined;
    }
  }

  /** The last name of where a link leads: a driver's, a device's. */
  target(path: string): string | undefined {
    return this.real(path)?.split('/').at(-1);
  }
}
