/** The only list that names drivers. A new one is a folder in drivers/ and a line here. */
import { afPacketDriver } from './drivers/af_packet/af_packet.js';
import { afXdpDriver } from './drivers/af_xdp/af_xdp.js';
import { memifDriver } from './drivers/memif/memif.js';
import { nullDriver } from './drivers/null/null.js';
import { pcapDriver } from './drivers/pcap/pcap.js';
import { ringDriver } from './drivers/ring/ring.js';
import { tapDriver } from './drivers/tap/tap.js';
import { vfioDriver } from './drivers/vfio/vfio.js';
import { vhostDriver } from './drivers/vhost/vhost.js';
import { virtioUserDriver } from './drivers/virtio_user/virtio_user.js';
import type { PortDriver } from './port.js';

export const drivers: readonly PortDriver[] = [
  nullDriver,
  ringDriver,
  pcapDriver,
  afXdpDriver,
  afPacketDriver,
  tapDriver,
  vfioDriver,
  vhostDriver,
  virtioUserDriver,
  memifDriver,
].map(driver => driver as unknown as PortDriver);
