/** What the test runner in the guest has said so far, by its lines: for when the machine ends before its summary. */
const FILE = /^(?:ok {2}|FAIL) dist\/(\S+)\.js {2}(.*) {2}[\d.]+ s$/;

export class Tally {
  readonly #counts = { passed: 0, FAILED: 0, skipped: 0 };
  readonly #reported = new Set<string>();

  line(text: string): void {
    const [, file, counts] = FILE.exec(text) ?? [];
    if (file === undefined || counts === undefined) return;
    this.#reported.add(`${file}.ts`);
    for (const [, count, kind] of counts.matchAll(/(\d+) (passed|FAILED|skipped)/g)) this.#counts[kind as 'passed'] += Number(count);
  }

  /** Of these sources of tests, the ones that did not report. */
  missing(files: readonly string[]): string[] {
    return files.filter(file => !this.#reported.has(file));
  }

  /** As the runner's own summary, over all that reported in any boot. */
  summary(): string {
    return `${this.#reported.size} files, ${this.#counts.passed} passed, ${this.#counts.FAILED} failed, ${this.#counts.skipped} skipped`;
  }

  get failed(): boolean {
    return this.#counts.FAILED > 0;
  }
}
