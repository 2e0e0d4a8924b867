/** A front-end that kicks as fast as it can, until it is told to end: worker data is an eventfd and an i32 of [end, kicks]. */
import { workerData } from 'node:worker_threads';
import { binding } from '../../../../lib/binding.js';

const { fd, control } = workerData as { fd: number; control: SharedArrayBuffer };
const words = new Int32Array(control);
const one = new Uint8Array(BigUint64Array.of(1n).buffer);
while (Atomics.load(words, 0) === 0) {
  binding().write(fd, one);
  Atomics.add(words, 1, 1);
}
