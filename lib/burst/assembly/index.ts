export { ringEnqueueSp, ringEnqueueMp, ringDequeueSc, ringDequeueMc, ringRecover } from './ring';
export { mbufAlloc, mbufFree, mbufOwn } from './mempool';
export { nullRx, nullTx, ringRx, ringTx } from './memory_ports';
export { xskRx, xskFill, xskTx, xskComplete } from './xsk';
export { toeplitz, rssHash } from './rss';
export { steerDistribute, steerTake, steerRecord } from './steer';
export { packetRx, packetTx } from './packet';
export { intelRx, intelFill, intelTx, intelClean } from './intel';
