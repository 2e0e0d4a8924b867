/** Writes device strings by the rule that stands in lib/port/device.ts. */

/** busyPoll is busy_poll in a device string. */
export function optionKey(name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}

/** A comma and a backslash get a backslash before them; so does the "=" of a device that would read as key=value. */
export function escapeValue(text: string): string {
  return text.replace(/[\\,]/g, '\\$&');
}

export function formatDevice(driver: string, { device = '', ...options }: Readonly<Record<string, string | number | boolean>>): string {
  const start = escapeValue(String(device)).replace(/^([a-z][a-z0-9_]*)=/, '$1\\=');
  const rest = Object.entries(options).map(([name, value]) => `${optionKey(name)}=${escapeValue(String(value))}`);
  return `${driver}:${[...(start === '' && rest.length > 0 ? [] : [start]), ...rest].join(',')}`;
}
