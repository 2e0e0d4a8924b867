import { constants } from 'node:os';
import t from 'tap';
import { PollmodeError, type ErrorCode } from '../../lib/errors.js';
import { check, codeOf, errnoName } from '../../lib/kernel/errno.js';

const { errno } = constants;

t.test('zero and more pass through', async (t) => {
  t.equal(check(0, 'x'), 0);
  t.equal(check(12, 'x'), 12);
});

t.test('each refusal has its code', async (t) => {
  const table: [number, ErrorCode][] = [
    [errno.EPERM, 'ERIGHTS'], [errno.EACCES, 'ERIGHTS'], [errno.ENODEV, 'ENOTFOUND'], [errno.ENXIO, 'ENOTFOUND'],
    [errno.ENETDOWN, 'EDOWN'], [errno.EBUSY, 'EBUSYQUEUE'], [errno.EOPNOTSUPP, 'EUNSUPPORTED'], [524, 'EUNSUPPORTED'],
    [errno.EEXIST, 'EEXISTS'], [errno.EIO, 'ESYSCALL'], [4000, 'ESYSCALL'],
  ];
  for (const [number, code] of table) t.equal(codeOf(number), code, errnoName(number));
});

t.test('the error names the call, the errno and the mend', async (t) => {
  try {
    check(-errno.EPERM, 'bind', 'It needs CAP_NET_RAW: run as root.');
    t.fail('it threw');
  } catch (error) {
    t.ok(error instanceof PollmodeError);
    t.match(error, { code: 'ERIGHTS', syscall: 'bind', errno: errno.EPERM });
    t.match((error as Error).message, /^bind said EPERM \(.*\): It needs CAP_NET_RAW: run as root\.$/);
  }
});

t.test('numbers that share or lack a name', async (t) => {
  t.equal(errnoName(errno.EOPNOTSUPP), 'EOPNOTSUPP');
  t.equal(errnoName(524), 'ENOTSUPP');
  t.equal(errnoName(4000), 'errno 4000');
});
