/**
 * The one suite that every driver passes: what a packet program may rely on, whatever carries its packets. It runs in
 * full with the burst module as it ships; a short form runs in processes of their own with the checking build, where
 * any misuse of an mbuf fails the test, and with the TypeScript twins.
 */
import type { Test } from 'tap';
import { closing } from './close.js';
import { opening } from './opening.js';
import { optionValues } from './options.js';
import { receiving } from './receive.js';
import { sending } from './send.js';
import { SHORT, type Subject } from './subject.js';

/** Call it as the only thing in a test file: the other builds run the same file again. */
export function conformance(t: Test, subject: Subject): void {
  t.test(`${subject.driver}: port conformance`, { ...subject.needs }, async t => {
    const place = subject.place();
    t.teardown(() => place.close());
    for (const [name, checks] of Object.entries({ opening, optionValues, receiving, sending, closing })) {
      await t.test(name, t => {
        checks(t, subject, place);
        t.end();
      });
    }
    if (SHORT) return;
    for (const build of [{ POLLMODE_DEBUG: '1' }, { POLLMODE_BURST: 'twin' }]) {
      await t.spawn(process.execPath, [process.argv[1]!], { env: { ...process.env, ...build, POLLMODE_CONFORMANCE: 'short' } }, `with ${Object.entries(build).join().replace(',', '=')}`);
    }
  });
}
