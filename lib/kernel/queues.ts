/**
 * Who uses an interface's queues, by the kernel's `netdev` generic netlink family (linux/netdev.h,
 * Documentation/netlink/specs/netdev.yaml; Linux 6.8 and later). Asking alters nothing and needs no rights. What the
 * interface can do is in `features.ts`.
 */
import { PollmodeError } from '../errors.js';
import { u32Attribute } from './attributes.js';
import { getU32 } from './bytes.js';
import { NETLINK_GENERIC, NLM_F_DUMP } from './constants.js';
import { genericAttributes, genericFamily, genericPayload, netlinkRequest, type Message } from './netlink.js';

const NETDEV_CMD_QUEUE_GET = 10;
const NETDEV_A_QUEUE_ID = 1;
const NETDEV_A_QUEUE_IFINDEX = 2;
const NETDEV_A_QUEUE_TYPE = 3;
const NETDEV_A_QUEUE_NAPI_ID = 4;
const NETDEV_A_QUEUE_XSK = 7;
const NETDEV_QUEUE_TYPE_RX = 0;

export interface QueueUse {
  ifindex: number;
  queue: number;
  direction: 'rx' | 'tx';
  /** 0 where the driver does not say. */
  napi: number;
  /** An AF_XDP socket is bound to it (Linux 6.15 and later say so). */
  xsk: boolean;
}

/**
 * The active queues of one interface of the calling thread's namespace; none while it is down. ENOTFOUND or EUNSUPPORTED
 * where the kernel is too old to say.
 */
export function listQueues(ifindex: number): QueueUse[] {
  const payload = genericPayload(NETDEV_CMD_QUEUE_GET, 1, u32Attribute(NETDEV_A_QUEUE_IFINDEX, ifindex));
  return netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), NLM_F_DUMP, payload, `queues of link ${ifindex}`).map(parseQueue);
}

/** Reads one NETDEV_CMD_QUEUE_GET answer. EFORMAT when it is malformed or says not which queue. */
export function parseQueue(answer: Message): QueueUse {
  const found = genericAttributes(answer);
  const word = (type: number, name: string): number => {
    const bytes = found.get(type);
    if (bytes === undefined) throw new PollmodeError('EFORMAT', `The kernel told of a queue without its ${name}: report this with the output of uname -r.`);
    return getU32(bytes, 0);
  };
  return {
    ifindex: word(NETDEV_A_QUEUE_IFINDEX, 'interface'),
    queue: word(NETDEV_A_QUEUE_ID, 'number'),
    direction: word(NETDEV_A_QUEUE_TYPE, 'direction') === NETDEV_QUEUE_TYPE_RX ? 'rx' : 'tx',
    napi: found.has(NETDEV_A_QUEUE_NAPI_ID) ? word(NETDEV_A_QUEUE_NAPI_ID, 'NAPI') : 0,
    xsk: found.has(NETDEV_A_QUEUE_XSK),
  };
}
