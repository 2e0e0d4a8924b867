/** What `query` gives: records that are made anew each time. */
export interface FlowRuleReport {
  readonly name: string;
  readonly priority: number;
  readonly actions: readonly string[];
  /** Where its actions are done: "software", or the offload's word. */
  readonly ran: string;
  /** Why it was not pushed down (further), where there is an offload that did not take it. */
  readonly why?: string;
  /** By `count`, over both. */
  readonly packets: number;
  readonly bytes: number;
}

export interface FlowReport {
  readonly rules: readonly FlowRuleReport[];
  /** Dropped in software: by rules; because a queue or a port took no more. Copies not made for want of mbufs. */
  readonly dropped: number;
  readonly queueFull: number;
  readonly portRefused: number;
  readonly notMirrored: number;
}
