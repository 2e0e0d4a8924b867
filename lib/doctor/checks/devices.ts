import { info, missing, ok, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

export function deviceChecks({ files }: Machine): Finding[] {
  const tun = files.access('/dev/net/tun');
  const vhost = files.access('/dev/vhost-net');
  return [
    tun === 'yes' ? ok('/dev/net/tun', 'can be opened')
      : missing('/dev/net/tun', tun === 'denied' ? 'may not be opened' : 'not there', 'Tap ports are made through it.', tun === 'denied' ? 'Run as root, or chmod 666 /dev/net/tun (its own rights are checked later).' : 'As root: modprobe tun; in a container, give it the device (--device /dev/net/tun).'),
    vhost === 'yes' ? ok('/dev/vhost-net', 'can be opened')
      : info('/dev/vhost-net', vhost === 'denied' ? 'may not be opened' : 'not there', 'Only a guest whose network the kernel carries wants it: vhost-user does not.'),
  ];
}
