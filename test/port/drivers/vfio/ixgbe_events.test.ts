/** What the 82599 tells its driver, on a model of it: interrupts, its link, and nonsense in its descriptors. */
import t from 'tap';
import { binding } from '../../../../lib/binding.js';
import { numbered, on } from './ixgbe_helper.js';
import { Lab } from './model_nic.js';

on('interrupts: a queue\'s wakes who has armed it, once, and not for what came before', { queues: 2, promiscuous: true }, (t, { arm, model, nic, port, receive }) => {
  const [first, second] = port.rx.map(rx => rx.wake!) as [NonNullable<(typeof port.rx)[number]['wake']>, NonNullable<(typeof port.rx)[number]['wake']>];
  const signalled = (fd: number): boolean => binding().poll(Int32Array.of(fd, 1), 0) > 0;
  t.same([first.fd, second.fd], nic.eventfds.slice(0, 2));
  model.receive(numbered(0));
  model.step();
  t.notOk(signalled(first.fd), 'masked until someone wants to sleep');
  receive();
  for (let round = 1; round <= 5; round++) {
    t.ok(arm(0), 'nothing is there');
    t.notOk(signalled(first.fd));
    model.receive(numbered(round));
    model.step();
    t.ok(signalled(first.fd), 'an interrupt');
    t.notOk(signalled(second.fd), 'and no other');
    t.same(receive(), [numbered(round)]);
    binding().read(first.fd, new Uint8Array(8));
    model.receive(numbered(round));
    model.step();
    t.notOk(signalled(first.fd), 'it has masked itself');
    t.same(receive(), [numbered(round)]);
  }
  model.receive(numbered(6));
  model.step();
  t.notOk(arm(0), 'what came before is not slept over');
  t.same(receive(), [numbered(6)]);
});

on('link down and up', {}, (t, { model, port, receive, send, nic }) => {
  const changed = (): boolean => binding().poll(Int32Array.of(port.link.wake.fd, 1), 0) > 0;
  binding().read(port.link.wake.fd, new Uint8Array(8));
  port.link.wake.arm!();
  model.step();
  t.notOk(changed());
  model.link(false);
  model.step();
  t.same(port.link.read(), { up: false, mbps: 0, fullDuplex: false });
  t.ok(changed(), 'and said so');
  t.notOk(model.receive(numbered(1)));
  model.link(true);
  model.step();
  t.same(port.link.read(), { up: true, mbps: 10000, fullDuplex: true });
  binding().read(port.link.wake.fd, new Uint8Array(8));
  port.link.wake.arm!();
  model.link(false);
  model.step();
  t.ok(changed(), 'again');
  model.link(true);
  model.step();
  t.ok(model.receive(numbered(2)));
  t.same(receive(), [numbered(2)]);
  send([numbered(3)]);
  t.same(nic.sent, [numbered(3)]);
});

t.test('throttling is EITR, in 2 us', async t => {
  for (const [throttleUs, units] of [[0, 0], [20, 10], [1022, 511], [8000, 511]] as const) {
    const made = new Lab();
    made.open({ queues: 2, throttleUs });
    t.same([made.peek(0x820), made.peek(0x824)].map(value => (value >>> 3) & 0x1ff), [units, units]);
    t.same(made.model.violations, []);
    made.close();
  }
});

on('what a device may write back: nonsense lengths and flags are counted, and cost nothing else', {}, (t, made) => {
  const { arena, burst, model, pool, port, stats } = made;
  const ring = arena.find('model/rx0').offset >>> 2;
  const written: [status: number, length: number, counter: string][] = [
    [3, 0, 'rx_bad_length'], [3, 13, 'rx_bad_length'], [3, 0xffff, 'rx_bad_length'], [1, 100, 'rx_split_frames'], [3, 100, ''], [0x20000003, 100, 'rx_errored'],
  ];
  written.forEach(([status, length], i) => {
    arena.u32[ring + 4 * i + 3] = length;
    arena.u32[ring + 4 * i + 2] = status;
  });
  t.equal(port.rx[0]!.rxBurst(burst, 32), 0, 'none of it is a frame');
  for (const name of ['rx_bad_length', 'rx_split_frames', 'rx_errored']) t.equal(stats().xstats[name], written.filter(([,, counter]) => counter === name).length, name);
  // The send side: it says of everything that it was sent, whatever else stands there.
  pool.alloc(burst, 32);
  for (const handle of burst.handles.subarray(0, 32)) pool.mbufs.copyIn(handle, numbered(handle));
  t.equal(port.tx[0]!.txBurst(burst, 32), 32);
  const transmit = arena.find('model/tx0').offset >>> 2;
  for (let i = 0; i < 4 * 64; i++) arena.u32[transmit + i] = 0xffffffff;
  port.tx[0]!.txBurst(burst, 0);
  port.close();
  t.equal(pool.audit().free, pool.size, 'every mbuf is back');
  made.open();
  model.receive(numbered(4));
  t.same(made.receive(), [numbered(4)], 'opened anew, it works');
});
