/** A sweep without root. */
import { join } from 'node:path';
import t from 'tap';
import { readResults } from '../../lib/sweep/results.js';
import { checkPath } from '../sweep/tiny.js';
import { GRID, QUICK, result } from './sweep_helper.js';
import { needsNobody, NobodysCopy } from './unprivileged_helper.js';

t.test('without root', needsNobody(), async (t) => {
  const copy = new NobodysCopy();
  t.teardown(() => copy.remove());
  const words = ['sweep', ...QUICK, '--json', '--out', join(copy.home, 'report')];

  t.test('a folder of somebody else\'s: refused at once', async (t) => {
    const { status, stdout, stderr } = copy.run(['sweep', ...QUICK, '--out', '/var/no-such-report']);
    t.same([status, stdout], [1, '']);
    t.match(stderr, /^pollmode: Cannot write \/var\/no-such-report \(EACCES: .*\n$/);
  });

  t.test('where user namespaces are allowed: all but AF_XDP, over a link', async (t) => {
    const ended = copy.run(words);
    if (/user namespaces are not allowed/.test(ended.stderr)) return t.pass('they are not allowed here');
    const swept = result(ended);
    for (const path of ['af_packet ring', 'raw socket', 'dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
    t.equal(swept.header.link, 'veth pair between two network namespaces');
    t.ok(swept.cells.filter(({ path }) => path === 'af_xdp').every((cell) => cell.status === 'missing' && /run as root/.test(cell.reason)));
    t.match(swept.header.notes.join('\n'), /Root would add AF_XDP.*the count of system calls/);
    t.same(readResults(join(copy.home, 'report', 'results.json')), swept);
  });

  t.test('where they are not (here: no unshare): memory ports, and dgram over loopback', async (t) => {
    const swept = result(copy.run(words, { PATH: copy.home }));
    for (const path of ['dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
    t.equal(swept.header.link, 'UDP over 127.0.0.1');
    t.match(swept.header.notes.join('\n'), /Root would add AF_XDP, AF_PACKET rings, raw sockets/);
  });
});
