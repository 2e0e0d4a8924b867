/** A sweep without root: once more in a user namespace of its own, where namespaces and veth pairs are allowed to everyone. */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { hasCapability } from '../kernel/caps.js';

/** Set in a process that was started again inside one. */
const INSIDE = 'POLLMODE_SWEEP_INSIDE';
const UNSHARE = ['--user', '--map-root-user', '--net'];

/** What is missing here and what having it would add, as a sentence for people; undefined for root, who lacks nothing. */
export function missingRights(): string | undefined {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) return `Without the native addon there are only memory ports, and dgram over loopback; CPU time and system calls are not all counted. ${addon.message}`;
  if (process.env[INSIDE] !== undefined) return 'Run without root, in a user namespace. Root would add AF_XDP, whose XDP program needs CAP_BPF over the machine itself, and the count of system calls.';
  if (hasCapability('CAP_SYS_ADMIN') && hasCapability('CAP_NET_ADMIN')) return undefined;
  if (allowed()) return 'Not root: going on in a user namespace.';
  return 'Run without root, and user namespaces are not allowed here (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns). Root would add AF_XDP, AF_PACKET rings, raw sockets, dgram across a veth pair instead of loopback, and the count of system calls.';
}

/**
 * This command again in a user namespace, where that is allowed and would help. Resolves to its exit code, or to
 * undefined where this process is to go on by itself. A signal to this process is passed on; the other ends with it.
 */
export async function againInUserNamespace(): Promise<number | undefined> {
  if (process.env[INSIDE] !== undefined) {
    process.on('disconnect', () => process.exit(1)); // whoever waited for us is gone
    process.channel?.unref();
    return undefined;
  }
  if (tryBinding() instanceof PollmodeError || !allowed()) return undefined;
  return again();
}

function again(): Promise<number> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  // A session of its own: a terminal's Ctrl-C reaches this process only, and the other by us, once.
  const inside = spawn('unshare', [...UNSHARE, process.execPath, ...process.execArgv, main, ...process.argv.slice(2)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'], detached: true, env: { ...process.env, [INSIDE]: '1' },
  });
  const pass = (signal: NodeJS.Signals): void => void inside.kill(signal);
  process.on('SIGINT', pass).on('SIGTERM', pass);
  return new Promise((resolve, reject) => {
    inside.on('error', reject);
    inside.on('exit', (code, signal) => {
      process.off('SIGINT', pass).off('SIGTERM', pass);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

function allowed(): boolean {
  return spawnSync('unshare', [...UNSHARE, 'true'], { stdio: 'ignore' }).status === 0;
}
