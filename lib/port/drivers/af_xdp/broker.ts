import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { mapFromFd, type BpfMap } from '../../../kernel/bpf.js';
import { getU32 } from '../../../kernel/bytes.js';
import { BPF_MAP_TYPE_XSKMAP, SOL_SOCKET, SO_DOMAIN } from '../../../kernel/constants.js';
import type { Link } from '../../../kernel/link.js';
import { closeAll } from '../../../kernel/unix.js';
import { Conversation } from './conversation.js';
import { enter, type Steering } from './program.js';
import { MESSAGE_LIMIT, encodeMessage, parseAnswer, type BrokerAnswer, type Grant, type Request, type Take } from './protocol.js';
import { isXskMap, type Source, type Wanted } from './source.js';
import { AF_XDP } from './uapi.js';

const TERMS = { who: 'broker', limit: MESSAGE_LIMIT, deadlineMs: 3000 };

/**
 * With the rights of a broker (`pollmode broker`), who answers at the Unix socket `path`. `take=socket` needs no right at
 * all, and works from any network namespace, since an AF_XDP socket is bound in its maker's; `take=map` needs
 * CAP_NET_RAW in the interface's.
 *
 * The connection is held for as long as the port is open: with it goes the lease of the queue.
 * Throws ENOTFOUND, ENOANSWER, EFORMAT, and whatever the broker refuses with.
 */
export function brokersRights(name: string, path: string, take: Take, wanted: Wanted): Source {
  const conversation = new Conversation(path, TERMS);
  let given: number | undefined;
  try {
    const { grant, fd } = open(conversation, take, wanted);
    given = fd;
    const link = linkOf(grant, wanted.device);
    if (take === 'socket') requireXdpSocket(conversation, fd);
    else requireSameNetns(conversation, grant, wanted.device);
    const map = take === 'map' ? requireXskMap(conversation, fd, grant) : undefined;
    const fds = [conversation.fd, ...map === undefined ? [] : [fd]];
    const steering = { map, attached: grant.program, whose: ' (program of a broker)', fds, gone: () => conversation.ended };
    return {
      link,
      socket: take === 'socket' ? fd : undefined,
      steer(socket) {
        const ours = map !== undefined && enterOurselves(name, { ...steering, map }, wanted.queue, socket);
        ask(conversation, { request: 'enter', queue: wanted.queue }, 'entered', map === undefined || ours ? [] : [socket]);
        return steering;
      },
      abandon: () => closeAll(fds),
    };
  } catch (cause) {
    closeAll(given === undefined ? [] : [given]);
    conversation.close();
    throw cause;
  }
}

function open(conversation: Conversation, take: Take, { device, queue, mode }: Wanted): { grant: Grant; fd: number } {
  const { answer, fd } = ask(conversation, { request: 'open', device, queue, take }, take);
  try {
    if (fd === undefined) throw conversation.error('EFORMAT', 'sent no descriptor beside its answer: check that it is one');
    if (queue >= answer.link.queues) throw conversation.error('EFORMAT', `gave queue ${queue} of an interface with ${answer.link.queues}: check that it is one`);
    if (mode !== 'auto' && mode !== answer.program) throw new PollmodeError('EOPTION', `${device}: the broker's program runs in ${answer.program} mode: open the port with mode=auto, or start the broker with --mode ${mode}.`);
    return { grant: answer, fd };
  } catch (cause) {
    closeAll(fd === undefined ? [] : [fd]);
    throw cause;
  }
}

/** The answer to one request, when it is of the expected kind; a refusal is thrown. */
function ask<Kind extends BrokerAnswer['answer']>(conversation: Conversation, request: Request, expected: Kind, fds: readonly number[] = []): { answer: BrokerAnswer & { answer: Kind }; fd: number | undefined } {
  const { text, fd } = conversation.ask(encodeMessage(request), fds);
  try {
    const answer = parseAnswer(text);
    if (answer.answer === 'refused') throw new PollmodeError(answer.code, `The broker refused: ${answer.why}`);
    if (answer.answer !== expected) throw conversation.error('EFORMAT', `was asked to ${request.request} and answered with "${answer.answer}": check that it is one`);
    if (expected === 'entered' && fd !== undefined) throw conversation.error('EFORMAT', 'sent a descriptor that nobody asked for: check that it is one');
    return { answer: answer as BrokerAnswer & { answer: Kind }, fd };
  } catch (cause) {
    closeAll(fd === undefined ? [] : [fd]);
    throw cause;
  }
}

/** The broker says what there is to know: the interface may be in a namespace that we cannot see into. */
function linkOf({ link, program }: Grant, name: string): Link {
  const { ifindex, mac, mtu, queues, kind } = link;
  return { ifindex, name, mac, mtu, kind, operstate: 'up', flags: 0, up: true, rxQueues: queues, txQueues: queues, xdp: { where: program, programId: 0 } };
}

function requireXdpSocket(conversation: Conversation, fd: number): void {
  const domain = new Uint8Array(4);
  if (binding().getsockopt(fd, SOL_SOCKET, SO_DOMAIN, domain) === 4 && getU32(domain, 0) === AF_XDP) return;
  throw conversation.error('EFORMAT', 'sent a descriptor that is no AF_XDP socket: check that it is one');
}

/** A socket of another namespace can be put into the map and never gets a frame: its interface is not the one that frames come from. */
function requireSameNetns(conversation: Conversation, { netns }: Grant, device: string): void {
  const mine = conversation.netns;
  if (netns === '' || mine === undefined || String(mine) === netns) return;
  throw new PollmodeError('EOPTION', `The broker's ${device} is in another network namespace: start this program there, name it (netns=), or let the broker make the socket (take=socket).`);
}

/** Before Linux 5.19 an unprivileged process may not even ask what a map is (kernel.unprivileged_bpf_disabled): then the broker is believed. */
function requireXskMap(conversation: Conversation, fd: number, { link }: Grant): BpfMap {
  try {
    const map = mapFromFd(fd);
    if (isXskMap(map)) return map;
  } catch (refusal) {
    if (refusal instanceof PollmodeError && refusal.code === 'ERIGHTS') return { fd, type: BPF_MAP_TYPE_XSKMAP, keySize: 4, valueSize: 4, maxEntries: link.queues };
  }
  throw conversation.error('EFORMAT', 'sent a descriptor that is no XSKMAP: check that it is one');
}

/** False where the kernel lets the broker only: every command of bpf(2) before Linux 5.19. */
function enterOurselves(name: string, steering: Steering & { readonly map: BpfMap }, queue: number, socket: number): boolean {
  try {
    enter(name, steering, queue, socket);
    return true;
  } catch (refusal) {
    if (refusal instanceof PollmodeError && refusal.code === 'ERIGHTS') return false;
    throw refusal;
  }
}
