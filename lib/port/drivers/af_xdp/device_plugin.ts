/**
 * The handshake of the AF_XDP device plugin for Kubernetes (github.com/intel/afxdp-plugins-for-kubernetes: version 0.1 in
 * constants/constants.go, the server in internal/udsserver), which DPDK's net_af_xdp speaks with use_cni=1. One
 * SOCK_SEQPACKET connection, plain text, 64 bytes at most:
 *
 *   /connect,HOSTNAME    /host_ok, or /host_nak when the pod is not one that was given the device
 *   /version             0.1
 *   /xsk_map_fd,DEVICE   /fd_ack and the XSKMAP beside it, or /fd_nak when it does not know the device
 *   /fin                 /fin_ack, and the plugin takes its socket away: one handshake for each pod
 *
 * /nak is for what it did not understand, /error for a fault of its own.
 */
import { hostname } from 'node:os';
import { PollmodeError } from '../../../errors.js';
import { mapFromFd } from '../../../kernel/bpf.js';
import { closeAll } from '../../../kernel/unix.js';
import { Conversation, type Answer } from './conversation.js';
import { enter } from './program.js';
import { isXskMap, usableLink, type Source, type Wanted } from './source.js';

/** The plugin asks Kubernetes for its pods before it answers: that may take its time. */
const TERMS = { who: 'device plugin', limit: 64, deadlineMs: 5000 };

/** With an XSKMAP of the plugin, whose program is on the interface already. Needs CAP_NET_RAW for the socket, and CAP_BPF before Linux 5.19. */
export function pluginsRights(name: string, path: string, wanted: Wanted): Source {
  const link = usableLink(name, wanted);
  const { where } = link.xdp;
  if (where === 'none') throw new PollmodeError('EOPTION', `${name}: no XDP program is on the interface, and the device plugin puts one there before it gives it to a pod: check that ${wanted.device} is the device that it gave.`);
  const fd = handshake(path, wanted.device);
  return {
    link,
    socket: undefined,
    steer(socket) {
      const steering = { map: mapOf(fd, path), attached: where, whose: ' (program of the device plugin)', fds: [fd] };
      enter(name, steering, wanted.queue, socket);
      return steering;
    },
    abandon: () => closeAll([fd]),
  };
}

/** Returns the descriptor that came for the device. Throws ERIGHTS and ENOTFOUND for the plugin's two naks, EFORMAT, ENOANSWER. */
function handshake(path: string, device: string): number {
  const plugin = new Conversation(path, TERMS);
  let fd: number | undefined;
  try {
    const host = hostname();
    expectAlone(plugin, `/connect,${host}`, '/host_ok', { '/host_nak': () => plugin.error('ERIGHTS', `did not give its device to a pod of the name ${host}: ask for it in the pod's resources`) });
    const version = askPlainly(plugin, '/version');
    if (!/^\d{1,3}(\.\d{1,3}){1,2}$/.test(version)) throw unexpected(plugin, '/version', version);
    fd = expect(plugin, `/xsk_map_fd,${device}`, '/fd_ack', { '/fd_nak': () => plugin.error('ENOTFOUND', `does not know the device ${device}: give one that it gave to this pod`) });
    if (fd === undefined) throw plugin.error('EFORMAT', 'acknowledged the request for the XSKMAP and sent none: see its log');
    mapOf(fd, path);
    expectAlone(plugin, '/fin', '/fin_ack', {});
    return fd;
  } catch (cause) {
    closeAll(fd === undefined ? [] : [fd]);
    throw cause;
  } finally {
    plugin.close();
  }
}

/** Asks, and returns the descriptor that came beside the expected answer. */
function expect(plugin: Conversation, request: string, expected: string, naks: Readonly<Record<string, () => PollmodeError>>): number | undefined {
  const { text, fd } = plugin.ask(request);
  if (text === expected) return fd;
  discard({ text, fd });
  throw Object.hasOwn(naks, text) ? naks[text]!() : unexpected(plugin, request, text);
}

/** The same for an answer that has no descriptor beside it. */
function expectAlone(plugin: Conversation, request: string, expected: string, naks: Readonly<Record<string, () => PollmodeError>>): void {
  const fd = expect(plugin, request, expected, naks);
  if (fd === undefined) return;
  closeAll([fd]);
  throw plugin.error('EFORMAT', `sent a descriptor beside ${expected}: see its log`);
}

function askPlainly(plugin: Conversation, request: string): string {
  return discard(plugin.ask(request));
}

function discard({ text, fd }: Answer): string {
  closeAll(fd === undefined ? [] : [fd]);
  return text;
}

function unexpected(plugin: Conversation, request: string, text: string): PollmodeError {
  const shown = text.slice(0, 40).replace(/[^\x20-\x7e]/g, '?');
  return plugin.error('EFORMAT', `answered ${request.split(',')[0]} with "${shown}"${text === '/error' ? ', which is a fault of its own' : ''}: see its log`);
}

/** Throws EFORMAT unless it is an XSKMAP; ERIGHTS where the kernel does not let us ask. */
function mapOf(fd: number, path: string): ReturnType<typeof mapFromFd> {
  try {
    const map = mapFromFd(fd);
    if (isXskMap(map)) return map;
  } catch (refusal) {
    if (refusal instanceof PollmodeError && refusal.code === 'ERIGHTS') throw new PollmodeError('ERIGHTS', 'This kernel lets only CAP_BPF use an XSKMAP: give it to the pod too, or use Linux 5.19 or newer.', { syscall: 'bpf', cause: refusal });
  }
  throw new PollmodeError('EFORMAT', `The device plugin at ${path} sent a descriptor that is no XSKMAP: see its log.`);
}
