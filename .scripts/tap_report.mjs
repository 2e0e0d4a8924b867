// Reads the TAP of one test file after the other and sums up. Counted are the assertions at the leaves, as tap itself
// counts them; the line that closes a subtest is not one.
import { Parser } from 'tap-parser';
import { allowance } from './allowed_skips.mjs';

export class TapReport {
  files = [];
  skips = [];
  failures = [];

  /** With `noSkips`, a skip whose reason is not on the list of allowed ones is a failure. */
  constructor(noSkips) {
    this.noSkips = noSkips;
  }

  /** The next file: takes the chunks of its standard output, and at last how its process ended. */
  file(name) {
    return new FileReport(this, name);
  }

  /** The sum over all files: { pass, fail, skip, todo }. */
  get totals() {
    const totals = { pass: 0, fail: 0, skip: 0, todo: 0 };
    for (const file of this.files) for (const kind of Object.keys(totals)) totals[kind] += file.counts[kind];
    return totals;
  }

  /** The plain summary, as lines. The last one is for scripts to read too. */
  summary() {
    const { pass, fail, skip, todo } = this.totals;
    return [
      ...this.failures.flatMap(({ file, name, detail }) => ['', `FAILED ${file}: ${name}`, ...detail]),
      ...(this.skips.length === 0 ? [] : ['', 'Skipped:', ...this.skips.map(describeSkip)]),
      '',
      `${this.files.length} files, ${pass} passed, ${fail} failed, ${skip} skipped${todo > 0 ? `, ${todo} to do` : ''}`,
    ];
  }
}

class FileReport {
  counts = { pass: 0, fail: 0, skip: 0, todo: 0 };
  #report;
  #results;

  constructor(report, name) {
    this.#report = report;
    this.name = name;
    report.files.push(this);
    this.parser = new Parser(results => { this.#results = results; });
    this.#watch(this.parser, { failed: false });
  }

  write(chunk) {
    this.parser.write(chunk);
  }

  /** `ending`: { code, signal, timedOut } of the process. Returns the file's line. */
  close(ending, seconds) {
    this.parser.end();
    const plan = this.#results?.plan;
    const empty = Object.values(this.counts).every(count => count === 0);
    if (ending.timedOut !== undefined) this.#fail('the file as a whole', { 'timed out': ending.timedOut });
    else if ((ending.code !== 0 || !this.#results?.ok) && this.counts.fail === 0) this.#fail('the file as a whole', { ...ending, tap: this.#results?.failures?.slice(0, 5) });
    else if (empty && plan?.skipAll && plan.comment && !/no tests found/.test(plan.comment)) this.#skip('the file as a whole', plan.comment.replace(/^#?\s*(skip:?)?\s*/i, ''));
    else if (empty) this.#fail('the file as a whole', { 'no assertion': 'a test file that asserts nothing cannot fail' });
    return this.#line(seconds);
  }

  #line(seconds) {
    const { pass, fail, skip, todo } = this.counts;
    const parts = [`${pass} passed`, fail > 0 && `${fail} FAILED`, skip > 0 && `${skip} skipped`, todo > 0 && `${todo} to do`];
    return `${fail > 0 ? 'FAIL' : 'ok  '} ${this.name}  ${parts.filter(Boolean).join(', ')}  ${seconds.toFixed(1)} s`;
  }

  /** All levels. A line that closes a subtest counts only when nothing inside the subtest explains it. */
  #watch(parser, scope) {
    let inner = { failed: false };
    parser.on('child', child => {
      inner = { failed: false };
      this.#watch(child, inner);
    });
    parser.on('assert', result => {
      const explained = result.closingTestPoint && (result.ok ? !result.skip && !result.todo : inner.failed);
      if (!explained) this.#count(result);
      if (!result.ok && !result.todo) scope.failed = true;
    });
  }

  #count(result) {
    if (result.skip) return this.#skip(result.fullname, result.skip === true ? 'no reason given' : result.skip);
    if (result.todo) this.counts.todo++;
    else if (result.ok) this.counts.pass++;
    else this.#fail(result.fullname, result.diag);
  }

  #skip(name, reason) {
    const allowed = allowance(reason);
    if (this.#report.noSkips && allowed === undefined) return this.#fail(name, { 'skips forbidden': reason });
    this.counts.skip++;
    this.#report.skips.push({ file: this.name, name, reason, allowed });
  }

  #fail(name, diagnosis) {
    this.counts.fail++;
    this.#report.failures.push({ file: this.name, name, detail: describeFailure(diagnosis) });
  }
}

function describeSkip({ file, name, reason, allowed }) {
  return `  ${file}: ${name}: ${reason}${allowed === undefined ? '' : ` (allowed: ${allowed.why})`}`;
}

/** What tap says about a failure, as lines; its positions are in the stack already. */
function describeFailure(diagnosis) {
  return Object.entries(diagnosis ?? {}).filter(([key, value]) => key !== 'at' && key !== 'source' && value !== undefined && value !== null)
    .flatMap(([key, value]) => {
      const lines = (typeof value === 'string' ? value : JSON.stringify(value, null, 2)).trimEnd().split('\n').slice(0, 60);
      return lines.length === 1 ? [`    ${key}: ${lines[0]}`] : [`    ${key}:`, ...lines.map(line => `      ${line}`)];
    });
}
