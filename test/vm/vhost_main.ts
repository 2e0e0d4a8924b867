/**
 * `node dist/test/vm/vhost_main.js`: boots a virtual machine whose network card is a vhost: port of this process, and has
 * it ping: Debian's kernel with its own virtio-net driver, interrupts and all. Split rings, then packed ones with QEMU as
 * the one that listens; ends with 0 when no ping was lost. Prints what the guest printed, and the port's counters.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from '../../lib/port/host.js';
import { ADDRESS, Responder } from './guest/responder.js';
import { buildImage, type Image } from './image.js';
import { boot } from './machine.js';

const GUEST_MAC = '52:54:00:00:09:01';
const OUR_MAC = '02:00:00:00:09:02';
const MEMORY_MB = 1024;
const SCRIPT = `
card=$(ip -o link | grep ${GUEST_MAC} | sed 's/^[0-9]*: \\([^:]*\\):.*/\\1/')
echo "card $card, driver $(basename $(readlink /sys/class/net/$card/device/driver)), features $(cat /sys/class/net/$card/device/features)"
ip addr add 192.0.2.1/24 dev $card
ip link set $card up
for size in 56 1472; do
  /bin/busybox ping -c 20 -i 0.1 -s $size ${ADDRESS} || exit 1
done
/bin/busybox ping -c 50 -i 0.02 ${ADDRESS} | tail -3
`;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
const image = buildImage(say);
const codes = [await ping(image, false), await ping(image, true)];
process.exit(codes.every(code => code === 0) ? 0 : 1);

async function ping(on: Image, packed: boolean): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-vm-vhost-'));
  const path = join(folder, 's');
  const host = open([`vhost:${path},guest_memory=${MEMORY_MB + 256},packed=${packed ? '1,client=1' : 0}`]);
  const port = host.ports[0]!;
  port.onEvent?.(({ text }) => say(text));
  const responder = new Responder(host, port, OUR_MAC);
  const ending = new AbortController();
  const running = responder.run(ending.signal);
  try {
    say(`booting Linux ${on.version}, ${packed ? 'packed rings, QEMU listens' : 'split rings, QEMU connects'} ...`);
    const outcome = await boot(on, {
      script: SCRIPT, memoryMb: MEMORY_MB, minutes: 4, line: line => { process.stdout.write(`${line}\n`); },
      devices: [
        '-object', `memory-backend-memfd,id=guest,size=${MEMORY_MB}M,share=on`, '-numa', 'node,memdev=guest',
        '-chardev', `socket,id=card,path=${path}${packed ? ',server=on,wait=off' : ''}`, '-netdev', 'vhost-user,id=card,chardev=card',
        '-device', `virtio-net-pci,netdev=card,mac=${GUEST_MAC},disable-legacy=on,packed=${packed ? 'on' : 'off'},romfile=`,
      ],
    });
    if (outcome.code !== 0) say(outcome.console.split('\n').slice(-15).join('\n'));
    say(`answered ${JSON.stringify(responder.counts)}, port ${JSON.stringify(host.stats(port))}`);
    return outcome.code;
  } finally {
    ending.abort();
    await running;
    host.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function say(line: string): void {
  process.stderr.write(`vhost: ${line}\n`);
}
