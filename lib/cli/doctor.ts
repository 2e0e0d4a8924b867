import { Command } from 'commander';
import { thisMachine } from '../doctor/machine.js';
import { examine } from '../doctor/report.js';
import { undoLeft } from '../journal/left.js';
import { tableStyle } from '../sweep/table.js';
import { cleanText, doctorText } from './doctor_text.js';

interface Options {
  readonly json?: boolean;
  readonly clean?: boolean;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('What this machine can do, and how to get the rest: kernel, rights, memory, interfaces, IOMMU. Attaches to nothing and alters nothing.')
    .option('--json', 'the report as JSON on stdout')
    .option('--clean', 'undo what a killed run left behind (see the journal in the report)')
    .addHelpText('after', '\nSigns: ✓ well, · good to know, ! could be better, ✗ missing; the arrow says what to do.\nThe interfaces are those of the network namespace that it runs in.\nExit code 0, whatever is missing.\n')
    .action(run);
}

function run(options: Options): void {
  const cleaned = options.clean === true ? undoLeft() : undefined;
  if (cleaned !== undefined && options.json !== true) {
    process.stdout.write(cleanText(cleaned));
    return;
  }
  const report = examine(thisMachine());
  if (options.json === true) process.stdout.write(`${JSON.stringify({ ...report, ...(cleaned === undefined ? {} : { cleaned }) }, null, 1)}\n`);
  else process.stdout.write(doctorText(report, tableStyle(process.stdout, process.env)));
}
