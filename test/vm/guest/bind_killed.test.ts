/** `pollmode bind` killed in the middle, in the place of a write of its own: what is left, and who puts it right. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { listJournals, undoLeft } from '../../../lib/journal/left.js';
import { attributePath, listNetworkDevices, readDevice, readOverride, writeSysfs } from '../../../lib/kernel/pci.js';
import { bindToVfio, restore, setVirtualFunctions } from '../../../lib/pci/bind.js';
import { inChild } from '../../native/child.js';
import { e1000e } from '../devices.js';

const MAIN = fileURLToPath(new URL('../../../lib/cli/main.js', import.meta.url));
const { nic } = e1000e;
/** Whose the device was. */
const NOTE = `/run/pollmode/bound/${nic}.json`;
const OVERRIDE = attributePath(readDevice(nic), 'driver_override');
const PROBE = '/sys/bus/pci/drivers_probe';

function pollmode(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...words], { encoding: 'utf8', timeout: 60_000 });
}

/** A process that calls something of lib/pci/bind.ts, and is killed where it would write to the file for the `nth` time. */
function killedAt(t: Test, file: string, nth: number, call: string): void {
  killed(t, 'writeSync', `(fd) => fs.readlinkSync('/proc/self/fd/' + fd) === ${JSON.stringify(realpathSync(file))} && ++count === ${nth}`, call);
}

function killed(t: Test, name: 'writeSync' | 'rmSync', when: string, call: string): void {
  const { signal, stderr } = inChild(`
    const { default: fs } = await import('node:fs');
    const { syncBuiltinESMExports } = await import('node:module');
    const real = fs.${name};
    const when = ${when};
    let count = 0;
    fs.${name} = (...words) => {
      if (when(...words)) process.kill(process.pid, 'SIGKILL');
      return real(...words);
    };
    syncBuiltinESMExports();
    (await import(LIB + 'pci/bind.js')).${call};`);
  t.equal(signal, 'SIGKILL', stderr);
}

const BIND = `bindToVfio('${nic}')`;
const state = (): readonly [driver: string | undefined, override: string] => [readDevice(nic).driver, readOverride(readDevice(nic))];

t.test('killed while it binds: doctor says so, and the device has the driver again that it had', t => {
  killedAt(t, PROBE, 1, BIND);
  t.same(state(), [undefined, 'vfio-pci'], 'cut short');
  t.match(listJournals(), [{ fate: 'dead', entries: ['0000:01:00.0, which lost its driver, back to e1000e'], unreadable: [] }]);
  t.match(pollmode('doctor', '--clean'), { status: 0, stdout: /^undone: 0000:01:00\.0.*back to e1000e/ });
  t.same(state(), ['e1000e', '(null)']);
  t.end();
});

t.test('a dry run leaves it as it is; the next start puts it right before it does what it is for', t => {
  killedAt(t, PROBE, 1, BIND);
  t.match(pollmode('bind', '--dry-run', nic), { status: 0, stdout: /would be: bound/ });
  t.same(state(), [undefined, 'vfio-pci']);
  t.match(pollmode('bind', nic), { status: 0, stdout: /bound to vfio-pci, was e1000e's/ });
  t.ok(existsSync(NOTE));
  t.match(restore(nic).did, /given back to e1000e/);
  // Other suites of this boot may have bound other NICs, whose notes stay.
  t.same([existsSync(NOTE), listJournals()], [false, []], 'nothing is kept of it');
  t.end();
});

t.test('killed when all is done but the striking out: it stays bound, and can be given back', t => {
  killed(t, 'rmSync', '() => true', BIND);
  t.match(undoLeft(), [{ result: 'superseded' }]);
  t.same(state(), ['vfio-pci', 'vfio-pci']);
  t.match(restore(nic).did, /given back to e1000e/);
  t.end();
});

t.test('killed while it gives back: that is finished', t => {
  for (const [file, nth, driver] of [[PROBE, 1, undefined], [OVERRIDE, 2, 'e1000e']] as const) {
    bindToVfio(nic);
    killedAt(t, file, nth, `restore('${nic}')`);
    t.same(state(), [driver, 'e1000e'], 'by name, in the middle');
    t.match(undoLeft(), [{ result: 'undone' }]);
    t.same(state(), ['e1000e', '(null)']);
  }
  t.end();
});

t.test('a device without a driver has none again', t => {
  writeSysfs(attributePath(readDevice(nic), 'driver/unbind'), nic);
  killedAt(t, PROBE, 1, BIND);
  t.match(undoLeft(), [{ result: 'undone', what: /to none/ }]);
  t.same(state(), [undefined, '(null)']);
  writeSysfs(PROBE, nic);
  t.same(state(), ['e1000e', '(null)']);
  t.end();
});

t.test('killed between two numbers of virtual functions: there are as many again as there were', t => {
  const { address } = listNetworkDevices().find(device => device.device === 0x10c9)!;
  const file = attributePath(readDevice(address), 'sriov_numvfs');
  setVirtualFunctions(address, 1);
  killedAt(t, file, 2, `setVirtualFunctions('${address}', 2)`);
  t.equal(readFileSync(file, 'utf8').trim(), '0', 'none in the middle');
  t.match(undoLeft(), [{ result: 'undone', what: /^the virtual functions of .* back to 1/ }]);
  t.equal(readFileSync(file, 'utf8').trim(), '1');
  setVirtualFunctions(address, 0);
  t.end();
});
