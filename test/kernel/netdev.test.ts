import fc from 'fast-check';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { attribute, u32Attribute } from '../../lib/kernel/attributes.js';
import { listXdpFeatures, parseFeatures } from '../../lib/kernel/features.js';
import { listLinks } from '../../lib/kernel/link.js';
import { parseNapi } from '../../lib/kernel/napi.js';
import { genericPayload } from '../../lib/kernel/netlink.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { listQueues, parseQueue } from '../../lib/kernel/queues.js';
import { openLab } from '../../lib/lab/veth.js';
import { open } from '../../lib/port/host.js';
import { codeThrown, needs } from './rights.js';

const answer = (payload: Uint8Array): { type: number; flags: number; sequence: number; payload: Uint8Array } => ({ type: 20, flags: 0, sequence: 0, payload });

t.test('a queue is read by attribute, in any order, and an AF_XDP socket by the attribute that is empty', async (t) => {
  const attributes = [u32Attribute(4, 77), u32Attribute(2, 9), u32Attribute(1, 3), u32Attribute(3, 1), u32Attribute(99, 1)];
  t.same(parseQueue(answer(genericPayload(10, 1, ...attributes))), { ifindex: 9, queue: 3, direction: 'tx', napi: 77, xsk: false });
  t.equal(parseQueue(answer(genericPayload(10, 1, ...attributes, Uint8Array.of(4, 0, 7, 0x80)))).xsk, true);
  for (const left of [1, 2, 3]) t.equal(codeThrown(() => parseQueue(answer(genericPayload(10, 1, ...attributes.filter((_, index) => index !== left))))), 'EFORMAT');
});

/** Older kernels tell of a NAPI without the two values. */
const napi = (message: Parameters<typeof parseNapi>[0]): void => {
  const code = codeThrown(() => parseNapi(message));
  if (code !== 'none' && code !== 'EUNSUPPORTED') parseNapi(message);
};

t.test('a NAPI is read, its timer in four bytes or in eight', async (t) => {
  const attributes = [u32Attribute(2, 300), u32Attribute(1, 9), u32Attribute(5, 2)];
  const wanted = { id: 300, ifindex: 9, deferHardIrqs: 2, groFlushNs: 200000 };
  t.same(parseNapi(answer(genericPayload(11, 1, ...attributes, u32Attribute(6, 200000)))), wanted);
  t.same(parseNapi(answer(genericPayload(11, 1, ...attributes, attribute(6, Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0))))), { ...wanted, groFlushNs: 2 ** 32 });
  t.equal(codeThrown(() => parseNapi(answer(genericPayload(11, 1, ...attributes)))), 'EUNSUPPORTED');
  t.equal(codeThrown(() => parseNapi(answer(genericPayload(11, 1, ...attributes.slice(1), u32Attribute(6, 1))))), 'EFORMAT');
});

t.test('any bytes parse or are refused as EFORMAT', async (t) => {
  for (const parse of [parseQueue, parseFeatures, napi]) {
    const outcomes = new Set<string>();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const code = codeThrown(() => parse(answer(bytes)));
      outcomes.add(code);
      return code === 'none' || code === 'EFORMAT';
    }), { numRuns: 300 });
    t.ok(outcomes.has('EFORMAT'));
  }
  t.equal(codeThrown(() => parseFeatures(answer(genericPayload(1, 1, Uint8Array.of(6, 0, 3, 0, 1, 2))))), 'EFORMAT', 'a mask of two bytes');
});

t.test('the kernel knows every link\'s features', needs(), async (t) => {
  const code = codeThrown(() => listXdpFeatures());
  if (code === 'ENOTFOUND') return t.comment('this kernel is older than the netdev family');
  t.same(listXdpFeatures().map(each => each.ifindex).sort(), listLinks().map(each => each.ifindex).sort());
});

t.test('which queues an AF_XDP socket has', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW'), async (t) => {
  const lab = openLab({ queues: 2 });
  withNetns(lab.a.netns, () => {
    t.same(listQueues(lab.a.ifindex).map(({ queue, direction, xsk }) => [queue, direction, xsk]), [[0, 'rx', false], [1, 'rx', false], [0, 'tx', false], [1, 'tx', false]]);
    const host = open(['af_xdp:veth0,queue=1']);
    t.same(listQueues(lab.a.ifindex).filter(each => each.xsk).map(({ queue, direction }) => [queue, direction]), [[1, 'rx'], [1, 'tx']]);
    host.close();
    const busy = (): boolean => listQueues(lab.a.ifindex).some(each => each.xsk);
    // The kernel lets go of a closed socket's buffers a little later.
    for (const end = performance.now() + 60_000; busy() && performance.now() < end;) binding().poll(new Int32Array(), 5);
    t.notOk(busy());
    t.equal(codeThrown(() => listQueues(9999)), 'ENOTFOUND');
  });
  lab.close();
});
