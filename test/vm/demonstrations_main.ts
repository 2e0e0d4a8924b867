/**
 * `node dist/test/vm/demonstrations_main.js [NAME ...]`: what virtual machines, the switch and the ports of other programs
 * show, all or those that are named, each by its own command, nothing left out; prints what they print, then a line for
 * each, and ends with 0 when all were right. `--help` says what there is.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

interface Demonstration { readonly shows: string; readonly words: readonly string[] }

const DEMONSTRATIONS: Readonly<Record<string, Demonstration>> = {
  machines: { shows: 'two virtual machines on a switch: ping, TCP, jumbo frames; each is killed and started again, and the switch', words: ['dist/test/vm/two_vms_main.js'] },
  layouts: { shows: 'the same two through the kernel\'s taps and bridge, beside the switch: rates, latency, CPU', words: ['dist/bench/two_vms.js', '--rounds', '1', '--seconds', '2'] },
  vxlan: { shows: 'a tunnel from the switch to Linux\'s own vxlan device over veth: ping and TCP', words: ['.scripts/test.mjs', 'switch/tunnel', 'switch/vxlan_linux'] },
  ovs: { shows: 'virtio_user: through the bridge of Open vSwitch with DPDK, and back', words: ['.scripts/test.mjs', 'vhost_user/ovs'] },
  memif: { shows: 'memif: with dpdk-testpmd\'s net_memif, both roles', words: ['.scripts/test.mjs', 'memif/dpdk'] },
};
const root = fileURLToPath(new URL('../../../', import.meta.url));
const asked = process.argv.slice(2);
let child: ChildProcess | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
process.once('exit', () => child?.kill('SIGTERM'));

if (asked.includes('--help')) {
  process.stdout.write(`${Object.entries(DEMONSTRATIONS).map(([name, { shows }]) => `${name.padEnd(9)} ${shows}`).join('\n')}\n\nThey need root, and what \`npm run test:vm\`, Open vSwitch and DPDK need; all together take some three minutes.\n`);
  process.exit();
}
const unknown = asked.find(name => !Object.hasOwn(DEMONSTRATIONS, name));
if (unknown !== undefined) {
  process.stderr.write(`There is no demonstration "${unknown}": there are ${Object.keys(DEMONSTRATIONS).join(', ')}.\n`);
  process.exit(1);
}
const lines: string[] = [];
for (const name of asked.length === 0 ? Object.keys(DEMONSTRATIONS) : asked) {
  const { shows, words } = DEMONSTRATIONS[name]!;
  const started = performance.now();
  const code = await run(words);
  lines.push(`${code === 0 ? 'ok' : `not ok (exit ${code})`} - ${name}, ${((performance.now() - started) / 1000).toFixed(0)} s: ${shows}`);
}
process.stdout.write(`\n${lines.join('\n')}\n`);
process.exit(lines.every(line => line.startsWith('ok')) ? 0 : 1);

/** With what it prints; its exit code, or 1 for one that was killed. */
function run(words: readonly string[]): Promise<number> {
  child = spawn(process.execPath, words, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, POLLMODE_NO_SKIPS: '1' } });
  return new Promise(resolve => { child!.on('exit', code => resolve(code ?? 1)); });
}
