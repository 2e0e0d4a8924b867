/**
 * NAPI instances and when their interrupts come, by the kernel's `netdev` generic netlink family (linux/netdev.h,
 * Documentation/netlink/specs/netdev.yaml; read since Linux 6.8, set since 6.13). Documentation/networking/napi.rst says
 * what the two values do.
 */
import { PollmodeError } from '../errors.js';
import { attribute, u32Attribute } from './attributes.js';
import { getU32, getU64, setU64 } from './bytes.js';
import { NETLINK_GENERIC, NLM_F_DUMP } from './constants.js';
import { genericAttributes, genericFamily, genericPayload, netlinkRequest, type Message } from './netlink.js';

const NETDEV_CMD_NAPI_GET = 11;
const NETDEV_CMD_NAPI_SET = 14;
const NETDEV_A_NAPI_IFINDEX = 1;
const NETDEV_A_NAPI_ID = 2;
const NETDEV_A_NAPI_DEFER_HARD_IRQS = 5;
const NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT = 6;

export interface Deferral {
  /** How often a NAPI that found nothing leaves the interrupt off and waits for its timer instead (napi_defer_hard_irqs). */
  readonly deferHardIrqs: number;
  /** That timer, in nanoseconds (gro_flush_timeout). */
  readonly groFlushNs: number;
}

export interface Napi extends Deferral {
  readonly id: number;
  readonly ifindex: number;
}

/** Those that an interface of the calling thread's namespace has now. Throws ENOTFOUND or EUNSUPPORTED where the kernel is too old to say, or to set them. */
export function listNapis(ifindex: number): Napi[] {
  const payload = genericPayload(NETDEV_CMD_NAPI_GET, 1, u32Attribute(NETDEV_A_NAPI_IFINDEX, ifindex));
  return netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), NLM_F_DUMP, payload, `NAPIs of link ${ifindex}`).map(parseNapi);
}

/** Throws ENOTFOUND when it is gone. */
export function readNapi(id: number): Napi {
  const payload = genericPayload(NETDEV_CMD_NAPI_GET, 1, u32Attribute(NETDEV_A_NAPI_ID, id));
  const [answer] = netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), 0, payload, `NAPI ${id}`);
  if (answer === undefined) throw new PollmodeError('ENOTFOUND', `The kernel said nothing about NAPI ${id}: it is gone.`);
  return parseNapi(answer);
}

/** Needs CAP_NET_ADMIN. Throws ERIGHTS, ENOTFOUND when it is gone, EUNSUPPORTED where the kernel is too old. */
export function setNapi(id: number, { deferHardIrqs, groFlushNs }: Deferral): void {
  const timeout = new Uint8Array(8);
  setU64(timeout, 0, BigInt(groFlushNs));
  const payload = genericPayload(NETDEV_CMD_NAPI_SET, 1, u32Attribute(NETDEV_A_NAPI_ID, id), u32Attribute(NETDEV_A_NAPI_DEFER_HARD_IRQS, deferHardIrqs),
    attribute(NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT, timeout));
  netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), 0, payload, `set NAPI ${id}`);
}

/** Reads one NETDEV_CMD_NAPI_GET answer. EFORMAT when it is malformed; EUNSUPPORTED from a kernel that does not tell the two values. */
export function parseNapi(answer: Message): Napi {
  const found = genericAttributes(answer);
  const bytes = (type: number): Uint8Array => {
    const value = found.get(type);
    if (value !== undefined) return value;
    throw type <= NETDEV_A_NAPI_ID ? new PollmodeError('EFORMAT', 'The kernel told of a NAPI without its number or its interface: report this with the output of uname -r.')
      : new PollmodeError('EUNSUPPORTED', 'This kernel does not tell when a NAPI\'s interrupts come: Linux 6.13 or newer is needed.');
  };
  return {
    ifindex: getU32(bytes(NETDEV_A_NAPI_IFINDEX), 0), id: getU32(bytes(NETDEV_A_NAPI_ID), 0),
    deferHardIrqs: getU32(bytes(NETDEV_A_NAPI_DEFER_HARD_IRQS), 0), groFlushNs: variable(bytes(NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT)),
  };
}

/** The specification's "uint": four bytes, or eight where they are needed. */
function variable(bytes: Uint8Array): number {
  return bytes.length < 8 ? getU32(bytes, 0) : Number(getU64(bytes, 0));
}
