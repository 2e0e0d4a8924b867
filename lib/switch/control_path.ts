import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeRunDirectory, runDirectories } from '../journal/directory.js';

export const DEFAULT_NAME = 'switch';

/** Where the switch of that name has its control socket, in the user's own runtime directory, which is made. Throws ERIGHTS. */
export function newControlPath(name: string): string {
  return join(makeRunDirectory(), fileOf(name));
}

/** Where it is looked for: the first that there is of the places where it may be. */
export function controlPath(name: string): string {
  const places = runDirectories().map(directory => join(directory, fileOf(name)));
  return places.find(existsSync) ?? places[0] ?? fileOf(name);
}

function fileOf(name: string): string {
  return `switch-${name}.sock`;
}
