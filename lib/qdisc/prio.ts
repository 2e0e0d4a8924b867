import type { Classifier } from './classify.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, NOTHING, Qdisc } from './qdisc.js';

const CAUSES = ['flushed'] as const;

/** Strict priority (Linux's prio): a band is served only while those before it have nothing that may go. */
export class Prio extends Qdisc {
  readonly kind = 'prio';
  readonly shapes: boolean;
  readonly children: readonly Qdisc[];
  private readonly classify: Classifier;
  private readonly otherwise: number;

  static bytesOf(): number {
    return commonBytes(CAUSES);
  }

  /** `otherwise`: the band of what the classifier does not know. */
  constructor(memory: TreeMemory, name: string, bands: readonly Qdisc[], classify: Classifier, otherwise: number) {
    super(memory, name, CAUSES);
    this.children = bands;
    this.classify = classify;
    this.otherwise = otherwise;
    this.shapes = bands.some(band => band.shapes);
  }

  protected get bare(): boolean {
    for (let band = 0; band < this.children.length; band++) if (!this.children[band]!.empty) return false;
    return true;
  }

  protected get own(): typeof NOTHING {
    return NOTHING;
  }

  protected push(entry: number): boolean {
    const band = this.classify(this.memory, entry, this.children.length);
    return this.children[band < 0 ? this.otherwise : band]!.enqueue(entry);
  }

  protected pull(): number {
    const { children } = this;
    for (let band = 0; band < children.length; band++) {
      const entry = children[band]!.dequeue();
      if (entry !== 0) return entry;
    }
    return 0;
  }

  protected purge(): void {
    for (const child of this.children) child.flush();
  }
}
