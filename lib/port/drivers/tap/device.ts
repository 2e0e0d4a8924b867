/** The tun device's doors (linux/if_tun.h, Documentation/networking/tuntap.rst). */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { fromCString, setCString, setU16 } from '../../../kernel/bytes.js';
import { IFNAMSIZ, O_NONBLOCK, O_RDWR } from '../../../kernel/constants.js';
import { check, EACCES, EBUSY, EINVAL, ENODEV, ENOENT, EPERM, kernelError } from '../../../kernel/errno.js';
import { checkName } from '../../../kernel/link.js';

export const TUN_DEVICE = '/dev/net/tun';
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
/** No four bytes of packet information before each frame. */
const IFF_NO_PI = 0x1000;
const IFREQ_SIZE = 40;

export interface TapDevice {
  /** As the kernel has it: "tap0" for "tap%d". */
  readonly name: string;
  /** One descriptor for each queue. */
  readonly fds: readonly number[];
}

/**
 * Makes the interface in the calling thread's network namespace, or attaches to a persistent one. It goes with its
 * descriptors, which are the caller's. Throws EOPTION, ERIGHTS, EBUSYQUEUE, EEXISTS, EUNSUPPORTED.
 */
export function openTap(name: string, queues: number): TapDevice {
  checkName(name);
  const fds: number[] = [];
  let made = name;
  try {
    for (let queue = 0; queue < queues; queue++) {
      fds.push(openDevice());
      // The first one's name holds for the others: "tap%d" would be a new interface each time.
      made = attach(fds[queue]!, made, queues > 1);
    }
    return { name: made, fds };
  } catch (cause) {
    closeTap(fds);
    throw cause;
  }
}

export function closeTap(fds: readonly number[]): void {
  for (const fd of fds) binding().close(fd);
}

function openDevice(): number {
  const fd = binding().open(TUN_DEVICE, O_RDWR | O_NONBLOCK);
  if (fd === -ENOENT || fd === -ENODEV) throw new PollmodeError('EUNSUPPORTED', `${TUN_DEVICE} is not there: modprobe tun, or give the container this device.`, { syscall: 'open', errno: -fd });
  if (fd === -EACCES || fd === -EPERM) throw new PollmodeError('ERIGHTS', `${TUN_DEVICE} may not be opened: run as root, or change the file's mode.`, { syscall: 'open', errno: -fd });
  return check(fd, 'open');
}

function attach(fd: number, name: string, several: boolean): string {
  const request = new Uint8Array(IFREQ_SIZE); // struct ifreq
  setCString(request, 0, IFNAMSIZ, name);
  setU16(request, IFNAMSIZ, IFF_TAP | IFF_NO_PI | (several ? IFF_MULTI_QUEUE : 0));
  const result = binding().ioctl(fd, TUNSETIFF, request);
  if (result < 0) throw refusal(-result, name, several);
  return fromCString(request, 0, IFNAMSIZ);
}

function refusal(errno: number, name: string, several: boolean): PollmodeError {
  const kernel = { syscall: 'ioctl(TUNSETIFF)', errno };
  switch (errno) {
    case EPERM: return new PollmodeError('ERIGHTS', `Making the interface ${name} needs CAP_NET_ADMIN: run as root, give node the capability (setcap cap_net_admin+ep), or have root make it for this user (ip tuntap add ${name} mode tap user NAME).`, kernel);
    case EBUSY: return new PollmodeError('EBUSYQUEUE', `The interface ${name} is another program's already: end it, or choose another name.`, kernel);
    case EINVAL: return new PollmodeError('EEXISTS', `There is an interface ${name} already, and it is no tap, or was made ${several ? 'without' : 'with'} multi_queue: choose another name, or ${several ? 'queues=1' : 'queues=2 or more'}.`, kernel);
    default: return kernelError(errno, kernel.syscall);
  }
}
