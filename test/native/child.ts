/** Runs a piece of JavaScript in a process of its own: for tests in which the process may die, or has other rights. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

const LIB = new URL('../../lib/', import.meta.url).href;

/** `code` is a module; in it, LIB is the URL of the compiled `lib` folder, with a slash at its end. */
function nodeArguments(code: string): string[] {
  return ['--input-type=module', '-e', `const LIB = ${JSON.stringify(LIB)};\n${code}`];
}

/** `prefix` is a program and its arguments to start Node with, such as setpriv. Ends after 20 seconds. */
export function inChild(code: string, prefix: readonly string[] = [], environment: Record<string, string> = {}): Ended {
  const [program = process.execPath, ...rest] = [...prefix, process.execPath, ...nodeArguments(code)];
  const { status, signal, stdout, stderr } = spawnSync(program, rest, {
    encoding: 'utf8', timeout: 120_000, env: { ...process.env, ...environment },
  });
  return { status, signal, stdout, stderr };
}

/** Starts it and returns at once; its standard output is a pipe. */
export function startChild(code: string): ChildProcess {
  return spawn(process.execPath, nodeArguments(code), { stdio: ['pipe', 'pipe', 'inherit'] });
}
