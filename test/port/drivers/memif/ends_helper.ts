/** Ends of memif sockets for tests: folders, hosts that go with their test, and the kinds of client that there are. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export { OPTIONS, opened, until } from '../ends_helper.js';

export const SERVER = ',role=server,client_memory=16';
/** The three kinds of client. */
export const CLIENTS = ['', ',zero_copy=0', ',zero_copy=0,bsize=128'];

export function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-memif-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return join(made, 's');
}

