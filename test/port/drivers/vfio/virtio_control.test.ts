/** The control queue of a virtio-net device that does not do its part. One that does is in test/vm/guest. */
import t from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { CONTROL_BYTES, ControlQueue } from '../../../../lib/port/drivers/vfio/virtio/control.js';
import { CTRL_RX_PROMISC } from '../../../../lib/port/drivers/vfio/virtio/registers.js';
import { DESC_AVAIL, DESC_USED } from '../../../../lib/virtqueue/layout.js';
import { codeThrown } from '../../../kernel/rights.js';

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split';
  const make = (): { arena: Arena; queue: ControlQueue; doorbell: number } => {
    const arena = Arena.create({ size: 16 << 20 });
    const zone = arena.reserve('control', CONTROL_BYTES, { align: 4096 });
    const doorbell = arena.reserve('doorbell', 64).offset;
    const queue = new ControlQueue('vfio:test', arena, zone, 2 ** 32, packed, 2);
    queue.doorbell = doorbell;
    return { arena, queue, doorbell };
  };

  t.test(`${kind}: one that never answers has a deadline, and the next command has none to wait for`, t => {
    const { arena, queue, doorbell } = make();
    t.equal(codeThrown(() => queue.send(CTRL_RX_PROMISC, Uint8Array.of(1))), 'ENOANSWER');
    t.equal(arena.u16[doorbell >>> 1], 2, 'it was told');
    arena.u16[doorbell >>> 1] = 0;
    t.equal(codeThrown(() => queue.send(CTRL_RX_PROMISC, Uint8Array.of(1))), 'ENOANSWER');
    t.equal(arena.u16[doorbell >>> 1], 0, 'once is enough');
    arena.close();
    t.end();
  });

  t.test(`${kind}: one that gives a command back and writes no answer has refused it; too long a command is not sent`, t => {
    const { arena, queue, doorbell } = make();
    t.equal(codeThrown(() => queue.send(CTRL_RX_PROMISC, new Uint8Array(4096))), 'EOPTION');
    t.equal(arena.u16[doorbell >>> 1], 0);
    // The doorbell lies where the device would say that it has used the first command, and says so with its store.
    const index = packed ? DESC_AVAIL | DESC_USED : 1;
    const quick = new ControlQueue('vfio:test', arena, arena.reserve('quick', CONTROL_BYTES, { align: 4096 }), 2 ** 32, packed, index);
    quick.doorbell = arena.find('quick').offset + (packed ? 14 : 128 + 2);
    t.equal(codeThrown(() => quick.send(CTRL_RX_PROMISC, Uint8Array.of(1))), 'EUNSUPPORTED');
    arena.close();
    t.end();
  });
}
