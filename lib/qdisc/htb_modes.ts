/**
 * Where the classes of an HTB stand, by their modes, for each priority that they are active at:
 * - can send: in the row of its own level;
 * - may borrow: in its parent's feed, and so on upwards until somebody can send (he is in his level's row) or nobody can;
 * - can send nothing: nowhere.
 */
import { H_ACTIVE, H_LEVEL, H_MODE, H_PARENT, type HtbClasses } from './htb_classes.js';

export const CAN_SEND = 0;
export const MAY_BORROW = 1;
export const CANT_SEND = 2;

export class HtbModes {
  private readonly classes: HtbClasses;
  private readonly u32: Uint32Array;

  constructor(classes: HtbClasses) {
    this.classes = classes;
    this.u32 = classes.u32;
  }

  change(number: number, mode: number): void {
    const at = this.classes.at(number);
    const active = this.u32[at + H_ACTIVE] !== 0;
    if (active) this.deactivate(number);
    this.u32[at + H_MODE] = mode;
    if (active) this.activate(number);
  }

  /** Puts an active class where its mode says; a parent that had nobody at a priority becomes active at it too, and so on. */
  activate(start: number): void {
    const { u32, classes } = this;
    let number = start;
    let mask = u32[classes.at(number) + H_ACTIVE]!;
    for (; mask !== 0 && u32[classes.at(number) + H_MODE] === MAY_BORROW; number = u32[classes.at(number) + H_PARENT]!) {
      const parent = u32[classes.at(number) + H_PARENT]!;
      if (parent === 0) return;
      let fresh = 0;
      for (let bits = mask; bits !== 0; bits &= bits - 1) {
        const priority = lowest(bits);
        const feed = classes.feed(parent, priority);
        if (classes.nextOf(feed) === 0) fresh |= 1 << priority;
        classes.insert(feed, number, priority);
      }
      u32[classes.at(parent) + H_ACTIVE]! |= fresh;
      mask = fresh;
    }
    if (u32[classes.at(number) + H_MODE] === CAN_SEND) this.inRow(number, mask, true);
  }

  /** Takes it out again; a parent that has nobody left at a priority goes too. */
  deactivate(start: number): void {
    const { u32, classes } = this;
    let number = start;
    let mask = u32[classes.at(number) + H_ACTIVE]!;
    for (; mask !== 0 && u32[classes.at(number) + H_MODE] === MAY_BORROW; number = u32[classes.at(number) + H_PARENT]!) {
      const parent = u32[classes.at(number) + H_PARENT]!;
      if (parent === 0) return;
      let gone = 0;
      for (let bits = mask; bits !== 0; bits &= bits - 1) {
        const priority = lowest(bits);
        const feed = classes.feed(parent, priority);
        classes.remove(feed, number, priority);
        if (classes.nextOf(feed) === 0) gone |= 1 << priority;
      }
      u32[classes.at(parent) + H_ACTIVE]! &= ~gone;
      mask = gone;
    }
    if (u32[classes.at(number) + H_MODE] === CAN_SEND) this.inRow(number, mask, false);
  }

  private inRow(number: number, mask: number, enter: boolean): void {
    const { classes } = this;
    const level = this.u32[classes.at(number) + H_LEVEL]!;
    for (let bits = mask; bits !== 0; bits &= bits - 1) {
      const priority = lowest(bits);
      if (enter) classes.enterRow(level, number, priority);
      else classes.leaveRow(level, number, priority);
    }
  }
}

function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
