#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { PollmodeError } from '../errors.js';
import { brokerCommand } from './broker.js';
import { doctorCommand } from './doctor.js';
import { bindCommand } from './bind.js';
import { forwardCommand } from './forward.js';
import { endWithReader } from './reader.js';
import { settle } from './settle.js';
import { sweepCommand } from './sweep.js';
import { switchCommand } from './switch.js';

/** Exit codes: 0 done, 1 refused, failed, or wrong usage; the sentence is on stderr; 130 or 143 a sweep that a signal stopped, with its report. */
const version = (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

const program = new Command('pollmode')
  .description('Poll-mode packet I/O for Node.js: AF_XDP, AF_PACKET, tap, capture files and memory ports.')
  .version(version)
  .enablePositionalOptions()
  .addCommand(sweepCommand())
  .addCommand(forwardCommand())
  .addCommand(switchCommand())
  .addCommand(bindCommand())
  .addCommand(brokerCommand())
  .addCommand(doctorCommand());

settle(program);
endWithReader();

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof PollmodeError)) throw error;
  process.stderr.write(`pollmode: ${error.message}\n`);
  process.exitCode = 1;
}
