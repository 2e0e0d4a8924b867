import { constants, PerformanceObserver, type NodeGCPerformanceDetail, type PerformanceEntry } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { open, swapMacs, type Host } from '../lib/index.js';

export interface HeapRun {
  readonly packets: number;
  readonly seconds: number;
  /** Bytes of the heap that were in use afterwards and not before. */
  readonly growth: number;
  /** Garbage collections that began while the packets went through, by kind. */
  readonly collections: readonly string[];
}

const WARM_UP = 2_000_000;

/** Sends so many packets from a null port through a MAC swap in TypeScript to another null port, and looks at the heap. */
export async function heapRun(packets: number): Promise<HeapRun> {
  const host = open(['null:', 'null:']);
  forward(host, WARM_UP); // until V8 has compiled it
  const seen: PerformanceEntry[] = [];
  const observer = new PerformanceObserver(list => { seen.push(...list.getEntries()); });
  observer.observe({ entryTypes: ['gc'] });
  await nextTurn();
  const before = getHeapStatistics().used_heap_size;
  const start = performance.now();
  const done = forward(host, packets);
  const end = performance.now();
  const growth = getHeapStatistics().used_heap_size - before;
  await nextTurn(); // the observer is told in a turn of its own
  await nextTurn();
  observer.disconnect();
  host.close();
  const collections = seen.filter(({ startTime }) => startTime >= start && startTime <= end).map(kindOf);
  return { packets: done, seconds: (end - start) / 1000, growth, collections };
}

function forward(host: Host, packets: number): number {
  const [from, to] = [host.ports[0]!.rx[0]!, host.ports[1]!.tx[0]!];
  const burst = host.burst(32);
  let done = 0;
  while (done < packets) {
    const got = from.rxBurst(burst);
    swapMacs(host.mbufs, burst, got);
    done += to.txBurst(burst, got);
  }
  burst.close();
  return done;
}

function kindOf(entry: PerformanceEntry): string {
  const { kind } = (entry as PerformanceEntry & { readonly detail: NodeGCPerformanceDetail }).detail;
  const names = Object.entries(constants).filter(([name, value]) => name.startsWith('NODE_PERFORMANCE_GC_') && value === kind);
  return names[0]?.[0].replace('NODE_PERFORMANCE_GC_', '').toLowerCase() ?? String(kind);
}
