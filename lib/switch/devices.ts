import type { SwitchConfig } from './config.js';

/** The device strings that a configuration names, each once: what to open together, so that one pool satisfies all. */
export function devicesOf({ bridges }: SwitchConfig): string[] {
  const devices = Object.values(bridges).flatMap(({ ports }) => Object.values(ports)).flatMap(port => {
    const device = 'device' in port ? port.device : 'vxlan' in port ? port.vxlan.underlay.device : undefined;
    return device === undefined ? [] : [device];
  });
  return [...new Set(devices)];
}
