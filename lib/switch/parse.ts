import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { PollmodeError } from '../errors.js';
import { checkMeaning } from './check.js';
import type { SwitchConfig } from './config.js';

/** A file longer than that was not written by a person. */
const LONGEST = 4 << 20;
let validate: ValidateFunction<SwitchConfig> | undefined;

/** The published JSON schema of a switch's configuration, as text. */
export function switchSchema(): string {
  return readFileSync(new URL('../../../lib/switch/schema.json', import.meta.url), 'utf8');
}

/** Reads a configuration file. Throws ENOTFOUND for one that cannot be read, and as `parseSwitchConfig`. */
export function readSwitchConfig(path: string): SwitchConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PollmodeError('ENOTFOUND', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'no file'}): give the path of a switch's configuration.`, { cause });
  }
  return parseSwitchConfig(text, path);
}

/** A configuration from its text. Throws EFORMAT, with the place in the text, and as `checkSwitchConfig`. `what` is the text's name in sentences. */
export function parseSwitchConfig(text: string, what = 'The configuration'): SwitchConfig {
  if (text.length > LONGEST) throw new PollmodeError('EFORMAT', `${what} has ${text.length} characters: a configuration has at most ${LONGEST}.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PollmodeError('EFORMAT', `${what} is no JSON${placeOf(text, (cause as Error).message)}: ${(cause as Error).message}. Mend it there: names and texts in double quotes, no comma behind the last, no comments.`, { cause });
  }
  return checkSwitchConfig(value, what);
}

/**
 * Is that a configuration? Held against the schema first, and then what the schema cannot say: names that other parts
 * name are there, cables have two ends. Throws EOPTION with the JSON path (RFC 6901) of the first fault, and the mend.
 */
export function checkSwitchConfig(value: unknown, what = 'The configuration'): SwitchConfig {
  validate ??= compile();
  if (!validate(value)) throw new PollmodeError('EOPTION', `${what}: ${sentence(validate.errors!.at(-1)!)}`);
  checkMeaning(value, what);
  return value;
}

/** Loaded at the first configuration: programs without a switch start without it. */
function compile(): ValidateFunction<SwitchConfig> {
  const { Ajv } = createRequire(import.meta.url)('ajv') as typeof import('ajv');
  // `verbose` brings the schema of the faulty part, whose description is the mend.
  return new Ajv({ verbose: true, strictTypes: false, strictRequired: false, allowUnionTypes: true }).compile<SwitchConfig>(JSON.parse(switchSchema()) as object);
}

type Rules = { readonly description?: string; readonly properties?: Readonly<Record<string, object>> };

function sentence({ keyword, instancePath, params, parentSchema, data, message }: ErrorObject<string, Record<string, unknown>>): string {
  const where = instancePath === '' ? 'the whole' : instancePath;
  const rules = (parentSchema ?? {}) as Rules;
  const give = `give ${rules.description ?? 'what the schema asks for'}.`;
  switch (keyword) {
    case 'additionalProperties': return `${where} has no ${shown(params['additionalProperty'])}. It has: ${Object.keys(rules.properties ?? {}).filter(name => name !== '$schema').join(', ')}.`;
    case 'required': return `${where} lacks ${shown(params['missingProperty'])}: ${give}`;
    case 'dependencies': return `${where} has ${shown(params['property'])} without ${shown(params['deps'])}: ${give}`;
    case 'propertyNames': return `${where} has the name ${shown(params['propertyName'])}: give a name of letters, digits, ".", "-" and "_" that starts with a letter or digit, at most 32.`;
    case 'oneOf': case 'pattern': case 'enum': return `${where} is ${shown(data)}: ${give}`;
    default: return `${where} is ${shown(data)}, and ${message ?? 'that is wrong'}: ${give}`;
  }
}

/** A value of a stranger's, short and printable. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  const clean = text.replace(/[^\x20-\x7e]/g, '?');
  return clean.length <= 60 ? clean : `${clean.slice(0, 57)}...`;
}

/** " (line 3, column 7)", where the parser tells the position in a way that we know. */
function placeOf(text: string, message: string): string {
  const position = /position (\d+)/.exec(message)?.[1];
  if (position === undefined || message.includes('line')) return '';
  const lines = text.slice(0, Number(position)).split('\n');
  return ` (line ${lines.length}, column ${lines.at(-1)!.length + 1})`;
}
