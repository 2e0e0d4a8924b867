import t from 'tap';
import { inChild } from '../native/child.js';

/** Runs `code` under POLLMODE_DEBUG=1 with a host of two ports; gives the warnings that it wrote. */
function warnings(code: string, environment: Record<string, string> = { POLLMODE_DEBUG: '1' }): string[] {
  const { status, stderr } = inChild(`
    const { open } = await import(LIB + 'index.js');
    const { Ring, Mempool, Arena } = await import(LIB + 'index.js');
    const host = open(['ring:wire', 'null:'], { mbufs: 256 });
    const { pool, arena } = host;
    const { mbufs } = pool;
    const [wire, none] = host.ports;
    const burst = host.burst(8);
    ${code}`, [], environment);
  if (status !== 0) throw new Error(stderr);
  return stderr.split(/\(node:\d+\) PollmodeMisuse: /).slice(1);
}

/** [what, the function it happened in, the function that handed the mbuf over before, code] */
const CASES: [what: RegExp, here: string, before: string, code: string][] = [
  [/mbuf \d+: double free\./, 'freeAgain', 'freed at freeFirst', `
    function freeFirst() { pool.free(burst, 0, 1); }
    function freeAgain() { pool.free(burst, 0, 1); }
    pool.alloc(burst, 1); freeFirst(); freeAgain();`],
  [/mbuf \d+: used while a port or a ring has it\./, 'readLater', 'sent at sendIt', `
    function sendIt() { wire.tx[0].txBurst(burst, 1); }
    function readLater() { return mbufs.pktLen(burst.handles[0]); }
    pool.alloc(burst, 1); sendIt(); readLater();`],
  [/mbuf \d+: used while a port or a ring has it\./, 'sendAgain', 'sent at sendIt', `
    function sendIt() { wire.tx[0].txBurst(burst, 1); }
    function sendAgain() { wire.tx[0].txBurst(burst, 1); }
    pool.alloc(burst, 1); sendIt(); sendAgain();`],
  [/mbuf \d+: used while a port or a ring has it\./, 'freeSent', 'sent at sendIt', `
    function sendIt() { wire.tx[0].txBurst(burst, 1); }
    function freeSent() { pool.free(burst, 0, 1); }
    pool.alloc(burst, 1); sendIt(); freeSent();`],
  [/mbuf \d+: used after it went back to its pool\./, 'readFreed', 'freed at freeIt', `
    function freeIt() { pool.free(burst, 0, 1); }
    function readFreed() { mbufs.prepend(burst.handles[0], 14); }
    pool.alloc(burst, 1); freeIt(); readFreed();`],
  [/mbuf \d+: used after it went back to its pool\./, 'readLater', 'sent at sendToNull', `
    function sendToNull() { none.tx[0].txBurst(burst, 1); }
    function readLater() { return mbufs.data(burst.handles[0]); }
    none.rx[0].rxBurst(burst, 1); sendToNull(); readLater();`],
  [/mbuf \d+: no mbuf of this pool\./, 'freeForeign', 'allocated at allocateThere', `
    const other = Mempool.create(arena, 'other', { count: 32 });
    function allocateThere() { other.alloc(burst, 1); }
    function freeForeign() { pool.free(burst, 0, 1); }
    allocateThere(); freeForeign();`],
  [/mbuf 4294967295: no mbuf of this pool\./, 'freeGarbage', 'unknown', `
    function freeGarbage() { burst.handles[0] = 0xffffffff; pool.free(burst, 0, 1); }
    freeGarbage();`],
  [/mbuf 1: no mbuf of this pool\./, 'readGarbage', 'unknown', `
    function readGarbage() { return mbufs.refcnt(1); }
    readGarbage();`],
  [/mbuf \d+: used while a port or a ring has it\./, 'putTwice', 'put into a ring at putOnce', `
    const ring = Ring.create(arena, 'mine', { size: 8, holds: 'mbufs' });
    function putOnce() { ring.enqueueBurst(burst, 1); }
    function putTwice() { ring.enqueueBurst(burst, 1); }
    pool.alloc(burst, 1); putOnce(); putTwice();`],
];

for (const [what, here, before, code] of CASES) {
  t.test(`${here}: told, with both sides`, async t => {
    const told = warnings(code);
    t.ok(told.length > 0, 'a process warning');
    const [text = ''] = told;
    t.match(text, what);
    const [now = '', last = ''] = text.split('\n  last ');
    t.match(now, new RegExp(`here:\\n +at ${here} `), 'where it happened: the program\'s own line is the first');
    t.match(last.replace(/\n/g, ' '), new RegExp(`^${before}`), 'and where it was handed over');
    t.notMatch(text, /checking\.[jt]s|wasm:/, 'without the frames of the checker itself');
  });
}

t.test('nor does the bundle that programs import stand before the program\'s own line', async t => {
  const { stderr } = inChild(`
    const { open } = await import(LIB + 'bundle/index.js');
    const { pool, burst } = (host => ({ pool: host.pool, burst: host.burst(8) }))(open(['null:']));
    function freeFirst() { pool.free(burst, 0, 1); }
    function freeAgain() { pool.free(burst, 0, 1); }
    pool.alloc(burst, 1); freeFirst(); freeAgain();`, [], { POLLMODE_DEBUG: '1' });
  t.match(stderr, /double free\.\n +here:\n +at freeAgain [^]*\n +last freed at freeFirst /);
});

t.test('right use is not told of', async t => {
  t.same(warnings(`
    const ring = Ring.create(arena, 'mine', { size: 4, holds: 'mbufs', singleProducer: true, singleConsumer: true });
    for (let round = 0; round < 50; round++) {
      const got = none.rx[0].rxBurst(burst, 8);
      for (const handle of burst.handles.subarray(0, got)) { mbufs.data(handle); mbufs.prepend(handle, 4); mbufs.hold(handle); }
      pool.free(burst, 0, got);
      const put = ring.enqueueBurst(burst, got);
      pool.free(burst, put, got);
      const back = ring.dequeueBurst(burst);
      const sent = wire.tx[0].txBurst(burst, back);
      pool.free(burst, sent, back);
      const came = wire.rx[0].rxBurst(burst);
      none.tx[0].txBurst(burst, came);
    }
    ring.close();
    host.close();`), []);
});

t.test('without POLLMODE_DEBUG=1 nothing is told, and the pool survives', async t => {
  t.same(warnings(`
    pool.alloc(burst, 1); pool.free(burst, 0, 1); burst.handles[0] = 0xffffffff; pool.free(burst, 0, 1);
    if (pool.stats().foreign !== 1) process.exit(3);`, { POLLMODE_DEBUG: '' }), []);
});

/** Two lcores in one thread are as good as two threads: sides are known by lcore. */
const SECOND = `
    const second = Arena.attach(arena.share());
    const { Burst } = await import(LIB + 'index.js');
    const theirs = new Burst(second, 8);`;

t.test('a second user of a single producer\'s or consumer\'s side is told of, once, by name', async t => {
  const told = warnings(`${SECOND}
    const ring = Ring.create(arena, 'mine', { size: 8, singleProducer: true, singleConsumer: true });
    const same = Ring.find(second, 'mine');
    function putHere() { ring.enqueueBurst(burst, 1); }
    function putThere() { same.enqueueBurst(theirs, 1); }
    putHere(); putThere(); putThere(); putHere();
    function takeThere() { same.dequeueBurst(theirs, 1); }
    function takeHere() { ring.dequeueBurst(burst, 1); }
    takeThere(); takeHere();`);
  t.equal(told.length, 2);
  t.match(told[0], /ring at \d+: a second thread on a side that is for one\.\n[^]*putThere[^]*last used by lcore 0/);
  t.match(told[1], /[^]*takeHere[^]*last used by lcore 1/);
});

t.test('nor is a ring port\'s single side for two', async t => {
  const told = warnings(`${SECOND}
    const { open: openPort } = await import(LIB + 'index.js');
    const a = openPort(['ring:solo,single'], { pool });
    const b = openPort(['ring:solo,single'], { pool: Mempool.find(second, pool.name) });
    pool.alloc(burst, 1);
    a.ports[0].tx[0].txBurst(burst, 1);
    b.pool.alloc(theirs, 1);
    function sendThere() { b.ports[0].tx[0].txBurst(theirs, 1); }
    sendThere();`);
  t.equal(told.length, 1);
  t.match(told[0], /a second thread on a side that is for one\.[^]*sendThere/);
});

t.test('a side whose user closed its arena goes to the next one', async t => {
  t.same(warnings(`${SECOND}
    const ring = Ring.create(arena, 'mine', { size: 8, singleProducer: true });
    const same = Ring.find(second, 'mine');
    same.enqueueBurst(theirs, 1);
    second.close();
    ring.enqueueBurst(burst, 1);`), []);
});

t.test('multi-producer sides are for all', async t => {
  t.same(warnings(`${SECOND}
    const ring = Ring.create(arena, 'mine', { size: 8 });
    ring.enqueueBurst(burst, 1);
    Ring.find(second, 'mine').enqueueBurst(theirs, 1);
    Ring.find(second, 'mine').dequeueBurst(theirs, 1);
    ring.dequeueBurst(burst, 1);`), []);
});
