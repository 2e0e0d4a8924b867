import t from 'tap';
import { Tally } from './tally.js';

t.test('what the runner in a machine has said counts when the machine ends without a summary', t => {
  const tally = new Tally();
  for (const line of [
    'ok   dist/test/vm/guest/igb.test.js  124 passed  46.9 s',
    'FAIL dist/test/vm/guest/rss.test.js  15 passed, 2 FAILED, 1 skipped  16.9 s',
    '(node:622) PollmodeWarning: ok   dist/test/vm/guest/vfio.test.js is no report',
  ]) tally.line(line);
  t.same(tally.missing(['test/vm/guest/igb.test.ts', 'test/vm/guest/rss.test.ts', 'test/vm/guest/vfio.test.ts']), ['test/vm/guest/vfio.test.ts']);
  t.equal(tally.summary(), '2 files, 139 passed, 2 failed, 1 skipped');
  t.ok(tally.failed);
  t.end();
});
