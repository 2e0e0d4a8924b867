/** What recovery.test.ts and its lcores share, by index: not 0 when they may go on, and the number of those that wait for it. */
export const GO = 0;
export const WAITING = 1;

