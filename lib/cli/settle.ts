import { Help, type Command } from 'commander';

const help = new Help();

/**
 * What every command of the program has in common, its subcommands too: a mistake names the help of the very command it
 * was made in, and defaults and choices stand in the help as a user would type them. After all options and subcommands are there.
 */
export function settle(command: Command, words = command.name()): void {
  command.showHelpAfterError(`(${words} --help tells what there is)`);
  for (const option of command.options) {
    const { defaultValue: value } = option;
    if (typeof value !== 'boolean' && value !== undefined) option.defaultValueDescription ??= Array.isArray(value) ? value.join() : String(value);
  }
  command.configureHelp({ optionDescription: option => help.optionDescription(option).replace(/choices: "[^)]*/, choices => choices.replaceAll('"', '')) });
  for (const sub of command.commands) {
    // Commands that were made elsewhere do not inherit by themselves.
    sub.copyInheritedSettings(command);
    settle(sub, `${words} ${sub.name()}`);
  }
}
