/** The command line of a bench of this folder: its own options, checked, and `--help`, which says what it measures and against whom. */
import { basename } from 'node:path';
import { parseArgs } from 'node:util';

export interface BenchOption {
  /** What stands behind it in the help: "N". Absent: a switch. */
  readonly value?: string;
  /** One that is a number asks for numbers. */
  readonly default?: string;
  /** Not in the help: for the bench's own processes. */
  readonly hidden?: boolean;
  readonly help: string;
}

export interface BenchHelp<Options> {
  /** What is measured. */
  readonly what: string;
  /** The peer, or that there is none. */
  readonly against: string;
  /** Beyond a build. */
  readonly needs?: string;
  /** One word that may stand alone: what it is. */
  readonly word?: BenchOption & { readonly value: string; readonly default: string };
  readonly options: Options;
}

type Given<Options> = { readonly [Name in keyof Options]: Options[Name] extends { readonly default: string } ? string : Options[Name] extends { readonly value: string } ? string | undefined : boolean };

/** Prints the help and ends for `--help`; ends with 2 and a sentence for what cannot be. `word` is the one that stood alone. */
export function benchOptions<const Options extends Readonly<Record<string, BenchOption>>>(help: BenchHelp<Options>, words = process.argv.slice(2)): Given<Options> & { readonly word: string } {
  const table: Readonly<Record<string, BenchOption>> = { ...help.options, help: { help: 'this text' } };
  const { values, positionals } = parsed(help, table, words);
  if (values['help'] === true) {
    process.stdout.write(textOf(help, table));
    process.exit(0);
  }
  const [word = help.word?.default, ...more] = positionals;
  if (more.length > 0) refuse(`${more.join(' ')}: nothing more may stand there`);
  if (help.word !== undefined) number(help.word.value, help.word, word!);
  for (const [name, option] of Object.entries(table)) if (option.default !== undefined) number(`--${name}`, option, String(values[name]));
  return { ...Object.fromEntries(Object.keys(table).map(name => [name, values[name] ?? (table[name]!.value === undefined ? false : undefined)])), word } as unknown as Given<Options> & { readonly word: string };
}

function parsed(help: BenchHelp<unknown>, table: Readonly<Record<string, BenchOption>>, words: string[]): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  const options = Object.fromEntries(Object.entries(table).map(([name, { value, default: usual }]) => [name, { type: value === undefined ? 'boolean' as const : 'string' as const, ...(usual === undefined ? {} : { default: usual }) }]));
  try {
    return parseArgs({ args: words, options, allowPositionals: help.word !== undefined }) as { values: Record<string, string | boolean | undefined>; positionals: string[] };
  } catch (cause) {
    refuse((cause as Error).message.split('. ')[0]!);
  }
}

/** Where a number is usual no other word will do; a list of them is as good. */
function number(name: string, option: BenchOption, given: string): void {
  const isNumber = (text: string): boolean => text !== '' && Number.isFinite(Number(text));
  if (option.default!.split(',').every(isNumber) && !given.split(',').every(isNumber)) refuse(`${name} ${given}: give a number, as ${option.default!}`);
}

function textOf({ what, against, needs, word }: BenchHelp<unknown>, table: Readonly<Record<string, BenchOption>>): string {
  const rows = Object.entries(table).filter(([, { hidden }]) => hidden !== true).map(([name, option]): [string, string] => [`--${name}${option.value === undefined ? '' : ` ${option.value}`}`, described(option)]);
  if (word !== undefined) rows.unshift([word.value, described(word)]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    what, '', `  node dist/bench/${basename(process.argv[1] ?? '', '.js')}.js${word === undefined ? '' : ` [${word.value}]`} [options]`, '',
    `Against: ${against}`, ...(needs === undefined ? [] : [`Needs: ${needs}`]), '', ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`), '',
  ].join('\n');
}

function described({ help, default: usual }: BenchOption): string {
  return usual === undefined || usual === '' ? help : `${help} (default ${usual})`;
}

function refuse(sentence: string): never {
  process.stderr.write(`${basename(process.argv[1] ?? 'bench', '.js')}: ${sentence} (--help says what there is).\n`);
  process.exit(2);
}
