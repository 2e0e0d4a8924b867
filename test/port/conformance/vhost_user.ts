/** Both ends of vhost-user, each with the other of ours at its socket. */
import type { Place, Subject } from './subject.js';
import { connectingPlace, MTU, waitingPlace } from './two_ends.js';

const vhost = (path: string): string => `vhost:${path},guest_memory=16,mtu=${MTU}`;
/** `words`: what its rings are like. */
const virtioUser = (words: string) => (path: string): string => `virtio_user:${path},mtu=${MTU},${words}`;

/** What both ends of vhost-user promise, with either kind of rings. */
function subject(driver: string, refused: Subject['refused'], place: () => Place): Subject {
  return {
    driver, carries: true, shortest: 14, longest: room => room, chains: 'carried', jumbo: false,
    refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' }, takesMbufs: true, losses: [], fills: true, pool: { file: 'own' }, refused, place,
  };
}

/** The other end is our own driver's side. */
export function vhostSubject(options: string): Subject {
  return subject('vhost', [
    ['vhost:', 'EDEVICE'], ['vhost:/nonexistent/folder/s', 'ENOTFOUND'], [`vhost:/tmp/${'x'.repeat(120)}`, 'EOPTION'], ['vhost:/tmp', 'EEXISTS'],
    ['vhost:/tmp/pollmode-never-made,queues=65', 'EDEVICE'],
  ], () => waitingPlace({ tested: vhost, other: virtioUser(options) }));
}

/** The other end is our own vhost port. */
export function virtioUserSubject(options: string): Subject {
  return subject('virtio_user', [
    ['virtio_user:', 'EDEVICE'], ['virtio_user:/nonexistent/folder/s', 'ENOTFOUND'], [`virtio_user:/tmp/${'x'.repeat(120)}`, 'EOPTION'],
    ['virtio_user:/nonexistent/s,queue_size=100', 'EOPTION'],
  ], () => connectingPlace({ tested: virtioUser(options), other: vhost }));
}
