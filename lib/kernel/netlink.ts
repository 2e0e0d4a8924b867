/**
 * Netlink requests (linux/netlink.h, linux/genetlink.h), one at a time and synchronous: for set-up, never for a data
 * path. A socket belongs to the network namespace that the calling thread was in when it was opened.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { parseAttributes, align4, textAttribute } from './attributes.js';
import { concat, fromCString, getI32, getU16, getU32, setU16, setU32, setU64, u32 } from './bytes.js';
import { AF_NETLINK, MSG_TRUNC, NETLINK_GENERIC, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, SOCK_RAW, SOL_NETLINK, SOL_SOCKET, SO_RCVTIMEO } from './constants.js';
import { check, kernelError } from './errno.js';

const HEADER = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const GENL_ID_CTRL = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

/** Larger than any message that the kernel makes in a dump (32 KiB). */
const BUFFER = 1 << 17;
const TIMEOUT_S = 5n;

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  payload: Uint8Array;
}

/** One message: struct nlmsghdr and the payload. */
export function message(type: number, flags: number, sequence: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(HEADER);
  setU32(header, 0, HEADER + payload.length);
  setU16(header, 4, type);
  setU16(header, 6, flags);
  setU32(header, 8, sequence);
  return concat([header, payload]);
}

/** Every message of one datagram; EFORMAT when a length leads outside it. */
export function parseMessages(bytes: Uint8Array): Message[] {
  const found: Message[] = [];
  let at = 0;
  while (at < bytes.length) {
    const rest = bytes.length - at;
    const length = rest < HEADER ? 0 : getU32(bytes, at);
    if (length < HEADER || length > rest) {
      throw new PollmodeError('EFORMAT', `A netlink message at byte ${at} says ${length} bytes where ${rest} are left: report this with the output of uname -r.`);
    }
    found.push({ type: getU16(bytes, at + 4), flags: getU16(bytes, at + 6), sequence: getU32(bytes, at + 8), payload: bytes.subarray(at + HEADER, at + length) });
    at += align4(length);
  }
  return found;
}

/**
 * Sends one request and returns its answers: none for a change, one for a read, all for a dump (NLM_F_DUMP in
 * `flags`). Throws the kernel's refusal with the kernel's own words where it gives some; `wanted` says what for.
 */
export function netlinkRequest(protocol: number, type: number, flags: number, payload: Uint8Array, wanted: string): Message[] {
  const fd = openNetlink(protocol);
  try {
    const dump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    const request = message(type, flags | NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK), 1, payload);
    check(binding().send(fd, request, 0), 'sendto');
    return answers(fd, wanted);
  } finally {
    binding().close(fd);
  }
}

function openNetlink(protocol: number): number {
  const b = binding();
  const fd = check(b.socket(AF_NETLINK, SOCK_RAW, protocol), 'socket');
  const timeout = new Uint8Array(16);
  setU64(timeout, 0, TIMEOUT_S);
  b.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout);
  // Wishes: kernels before 4.12 have no words to their refusals.
  b.setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, u32(1));
  b.setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, u32(1));
  return fd;
}

function answers(fd: number, wanted: string): Message[] {
  const found: Message[] = [];
  for (;;) {
    const buffer = new Uint8Array(BUFFER);
    const length = check(binding().recv(fd, buffer, MSG_TRUNC), 'recvfrom', `The kernel did not answer a netlink request (${wanted}): try again.`);
    if (length > BUFFER) throw new PollmodeError('EFORMAT', `A netlink answer of ${length} bytes is too long: report this with the output of uname -r.`);
    for (const one of parseMessages(buffer.subarray(0, length))) {
      if (one.type === NLMSG_DONE) {
        // A dump that failed says so here.
        if (one.payload.length >= 4) refuse(one, 4, wanted);
        return found;
      }
      if (one.type === NLMSG_ERROR) {
        refuse(one, 4 + HEADER, wanted);
        return found;
      }
      found.push(one);
    }
  }
}

/** Throws unless the message's error is 0: an acknowledgement, or a dump that ended well. The kernel's words are `wordsAt`. */
function refuse(answer: Message, wordsAt: number, wanted: string): void {
  const error = -getI32(answer.payload, 0);
  if (error === 0) return;
  const words = kernelWords(answer, wordsAt);
  const plain = kernelError(error, `netlink (${wanted})`);
  throw words === '' ? plain : new PollmodeError(plain.code, `The kernel says "${words}". ${plain.message}`, { syscall: 'netlink', errno: error });
}

/** What NETLINK_EXT_ACK adds after the error and, where it is no dump's, the header of the request it is about. */
function kernelWords(answer: Message, at: number): string {
  if ((answer.flags & NLM_F_ACK_TLVS) === 0) return '';
  const extra = answer.payload.subarray(at);
  const words = parseAttributes(extra).get(NLMSGERR_ATTR_MSG);
  return words === undefined ? '' : fromCString(words);
}

/** A generic netlink payload: struct genlmsghdr and attributes. */
export function genericPayload(command: number, version: number, ...attributes: readonly Uint8Array[]): Uint8Array {
  return concat([Uint8Array.of(command, version, 0, 0), ...attributes]);
}

/** The attributes of a generic netlink answer. */
export function genericAttributes(answer: Message): Map<number, Uint8Array> {
  if (answer.payload.length < 4) throw new PollmodeError('EFORMAT', 'A generic netlink answer has no header: report this with the output of uname -r.');
  return parseAttributes(answer.payload.subarray(4));
}

/** The number of a generic netlink family; ENOTFOUND where the kernel has none of that name. */
export function genericFamily(name: string): number {
  const payload = genericPayload(CTRL_CMD_GETFAMILY, 1, textAttribute(CTRL_ATTR_FAMILY_NAME, name));
  const [answer] = netlinkRequest(NETLINK_GENERIC, GENL_ID_CTRL, 0, payload, `find family ${name}`);
  const id = answer === undefined ? undefined : genericAttributes(answer).get(CTRL_ATTR_FAMILY_ID);
  if (id === undefined) throw new PollmodeError('ENOTFOUND', `The kernel has no netlink family "${name}": use a newer kernel.`);
  return getU16(id, 0);
}
