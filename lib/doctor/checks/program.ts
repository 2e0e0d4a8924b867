import { PollmodeError } from '../../errors.js';
import { missing, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

const OLDEST_NODE = 20;

/** What this program is made of: Node.js, the addon, the burst module. */
export function programChecks(machine: Machine): Finding[] {
  return [node(machine.node), addon(machine), burst(machine)];
}

function node(version: string): Finding {
  if (Number.parseInt(version, 10) >= OLDEST_NODE) return ok('Node.js', version);
  return warn('Node.js', version, `pollmode is tested with Node.js ${OLDEST_NODE} and newer.`, `Install Node.js ${OLDEST_NODE} or newer.`);
}

function addon({ addon: { binding, path }, platform }: Machine): Finding {
  if (binding instanceof PollmodeError) {
    return platform === 'linux'
      ? missing('native addon', 'not loaded', binding.message, 'Build it as the reason says, or install the package again.')
      : missing('native addon', 'not loaded', binding.message, 'Use Linux.');
  }
  return ok('native addon', `${path ?? 'loaded'}${origin(path ?? '')}`);
}

function origin(path: string): string {
  if (path.includes('/prebuilds/')) return ' (prebuilt)';
  return path.includes('/build/Release/') ? ' (built from source)' : '';
}

function burst(machine: Machine): Finding {
  try {
    const build = machine.loadBurst();
    if (build === 'fast') return ok('burst module', 'WebAssembly with SIMD');
    return warn('burst module', build === 'checking' ? 'the checking build' : 'the TypeScript twins', 'The environment asks for it (POLLMODE_DEBUG or POLLMODE_BURST); it is for finding faults, and slower.', 'Unset POLLMODE_DEBUG and POLLMODE_BURST.');
  } catch (error) {
    return missing('burst module', 'not loaded', error instanceof Error ? error.message : String(error), 'Run npm run build in a source tree, or install the package again.');
  }
}
