/** Opens a device, maps 1 MiB for it and says how it went; `hold` keeps it until it is killed. */
import { Arena } from '../../../lib/arena/arena.js';
import { PollmodeError } from '../../../lib/errors.js';
import { VfioDevice } from '../../../lib/kernel/vfio.js';

const [address, how] = process.argv.slice(2);
try {
  const device = new VfioDevice(address!);
  const arena = Arena.create({ size: 16 << 20 });
  const zone = arena.reserve('dma', 1 << 20, { align: 4096 });
  device.map(arena.u8, zone.offset, zone.length, 2 ** 32 + zone.offset);
  process.stdout.write('open\n');
  if (how === 'hold') setInterval(() => undefined, 1000);
  else device.close();
} catch (error) {
  process.stdout.write(`${error instanceof PollmodeError ? error.code : String(error)}\n`);
}
