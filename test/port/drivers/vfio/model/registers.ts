/**
 * The registers of the Intel 82599 that this model knows, as the datasheet (Intel document 331520, section 8.2.3) has
 * them: name, where, mode, value after a reset, and the bits that are reserved. Offsets are bytes into BAR 0.
 *
 * Modes are section 8.2.1's: RW; RO; RC, cleared by a read; RW1C, a 1 clears; RWS, a 1 sets; WO, reads as 0. A value after
 * reset of X is unknown: memories that no reset touches and that software has to initialise.
 */
export type Mode = 'RW' | 'RO' | 'RC' | 'RW1C' | 'RWS' | 'WO';

/** One or many registers of a name: `count` of them from `base`, `stride` apart. */
type Span = readonly [base: number, stride: number, count: number];

export interface Register {
  readonly name: string;
  readonly section: string;
  readonly mode: Mode;
  readonly initial: number | 'X';
  /** Bits that must keep their value after reset. */
  readonly reserved: number;
  readonly spans: readonly Span[];
  /** The same registers at the place that the 82598 had them. */
  readonly alias?: Span;
}

/** Queues 64 to 127 stand apart (section 8.2.3.8.1). */
function rxQueue(offset: number): readonly Span[] {
  return [[0x1000 + offset, 0x40, 64], [0xd000 + offset, 0x40, 64]];
}

function row(name: string, section: string, where: readonly Span[] | Span | number, initial: number | 'X' = 0, reserved = 0, mode: Mode = 'RW', alias?: Span): Register {
  const spans = typeof where === 'number' ? [[where, 4, 1] as const] : isSpan(where) ? [where] : where;
  return { name, section, mode, initial, reserved, spans, ...(alias === undefined ? {} : { alias }) };
}

function isSpan(where: readonly Span[] | Span): where is Span {
  return typeof where[0] === 'number';
}

/** All bits but those of the fields that are named. */
function allBut(...fields: readonly (readonly [high: number, low: number])[]): number {
  let named = 0;
  for (const [high, low] of fields) for (let bit = low; bit <= high; bit++) named |= 1 << bit;
  return ~named >>> 0;
}

const GENERAL: readonly Register[] = [
  row('CTRL', '8.2.3.1.1', 0x0, 0, allBut([3, 2], [26, 26]), 'RW', [0x4, 4, 1]),
  row('STATUS', '8.2.3.1.2', 0x8, 1 << 19, 0, 'RO'), // PCIe Master Enable Status
  row('CTRL_EXT', '8.2.3.1.3', 0x18, 0, allBut([14, 14], [17, 16], [26, 26], [28, 28])),
  row('ESDP', '8.2.3.1.4', 0x20),
  row('I2CCTL', '8.2.3.1.5', 0x28, 0xf),
  row('LEDCTL', '8.2.3.1.6', 0x200, 'X'),
  row('EEC', '8.2.3.2.1', 0x10010, 0x1010), // flash writes disabled, EEPROM of 16 KB; ARD and EE_PRES come with the auto-read
  row('EERD', '8.2.3.2.2', 0x10014),
  row('EEMNGCTL', '8.2.3.2.3', 0x10110),
  row('SWSM', '8.2.3.4.9', 0x10140),
  row('FWSM', '8.2.3.4.10', 0x10148),
  row('SW_FW_SYNC', '8.2.3.4.11', 0x10160),
  row('GCR_EXT', '8.2.3.4.12', 0x11050),
];

const FLOW_CONTROL: readonly Register[] = [
  row('FCTTV', '8.2.3.3.2', [0x3200, 4, 4]),
  row('FCRTL', '8.2.3.3.3', [0x3220, 4, 8]),
  row('FCRTH', '8.2.3.3.4', [0x3260, 4, 8], 0, allBut([18, 5], [31, 31])),
  row('FCRTV', '8.2.3.3.5', 0x32a0),
  row('TFCS', '8.2.3.3.6', 0xce00, 0, 0, 'RO'),
  row('FCCFG', '8.2.3.3.7', 0x3d00, 0, allBut([4, 3])),
];

const INTERRUPTS: readonly Register[] = [
  row('EICR', '8.2.3.5.1', 0x800, 0, 0, 'RW1C'),
  row('EICS', '8.2.3.5.2', 0x808, 0, 0, 'WO'),
  row('EIMS', '8.2.3.5.3', 0x880, 0, 0, 'RWS'),
  row('EIMC', '8.2.3.5.4', 0x888, 0, 0, 'WO'),
  row('EIAC', '8.2.3.5.5', 0x810),
  row('EIAM', '8.2.3.5.6', 0x890),
  row('EICS_EX', '8.2.3.5.7', [0xa90, 4, 2], 0, 0, 'WO'),
  row('EIMS_EX', '8.2.3.5.8', [0xaa0, 4, 2], 0, 0, 'RWS'),
  row('EIMC_EX', '8.2.3.5.9', [0xab0, 4, 2], 0, 0, 'WO'),
  row('EIAM_EX', '8.2.3.5.10', [0xad0, 4, 2]),
  row('EITRSEL', '8.2.3.5', 0x894),
  row('EITR', '8.2.3.5', [[0x820, 4, 24], [0x12300, 4, 105]]),
  row('IVAR', '8.2.3.5', [0x900, 4, 64]),
  row('IVAR_MISC', '8.2.3.5', 0xa00),
  row('GPIE', '8.2.3.5.18', 0x898),
];

const RECEIVE: readonly Register[] = [
  row('FCTRL', '8.2.3.7.1', 0x5080, 0, allBut([1, 1], [10, 8])),
  row('VLNCTRL', '8.2.3.7.2', 0x5088, 0x8100, allBut([15, 0], [30, 28])),
  row('MCSTCTRL', '8.2.3.7.3', 0x5090, 0, allBut([2, 0])),
  row('PSRTYPE', '8.2.3.7.4', [0xea00, 4, 64], 'X', 0, 'RW', [0x5480, 4, 16]),
  row('RXCSUM', '8.2.3.7.5', 0x5000, 0, allBut([13, 12])),
  row('RFCTL', '8.2.3.7.6', 0x5008),
  row('MTA', '8.2.3.7.7', [0x5200, 4, 128], 'X'),
  row('RAL', '8.2.3.7.8', [0xa200, 8, 128], 0, 0, 'RW', [0x5400, 8, 16]),
  row('RAH', '8.2.3.7.9', [0xa204, 8, 128], 0, allBut([15, 0], [31, 31]), 'RW', [0x5404, 8, 16]),
  row('MPSAR', '8.2.3.7.10', [0xa600, 4, 256], 'X'),
  row('VFTA', '8.2.3.7.11', [0xa000, 4, 128], 'X'),
  row('MRQC', '8.2.3.7.12', 0xec80, 0, allBut([3, 0], [17, 16], [23, 20]), 'RW', [0x5818, 4, 1]),
  row('RQTC', '8.2.3.7.13', 0xec70),
  row('RSSRK', '8.2.3.7.14', [0xeb80, 4, 10], 'X', 0, 'RW', [0x5c80, 4, 10]),
  row('RETA', '8.2.3.7.15', [0xeb00, 4, 32], 'X', 0, 'RW', [0x5c00, 4, 32]),
  row('SAQF', '8.2.3.7.16', [0xe000, 4, 128], 'X'),
  row('DAQF', '8.2.3.7.17', [0xe200, 4, 128], 'X'),
  row('SDPQF', '8.2.3.7.18', [0xe400, 4, 128], 'X'),
  row('FTQF', '8.2.3.7.19', [0xe600, 4, 128], 'X'),
  row('L34TIMIR', '8.2.3.5', [0xe800, 4, 128], 'X'),
  row('SYNQF', '8.2.3.7.20', 0xec30),
  row('ETQF', '8.2.3.7.21', [0x5128, 4, 8]),
  row('ETQS', '8.2.3.7.22', [0xec00, 4, 8]),
  row('RXFECCERR0', '8.2.3.7.23', 0x51b8),
  row('RDBAL', '8.2.3.8.1', rxQueue(0x00), 'X'),
  row('RDBAH', '8.2.3.8.2', rxQueue(0x04), 'X'),
  row('RDLEN', '8.2.3.8.3', rxQueue(0x08), 0, allBut([19, 0])),
  row('RDH', '8.2.3.8.4', rxQueue(0x10), 0, allBut([15, 0])),
  row('RDT', '8.2.3.8.5', rxQueue(0x18), 0, allBut([15, 0])),
  row('RXDCTL', '8.2.3.8.6', rxQueue(0x28), 0, allBut([25, 25], [30, 30])),
  row('SRRCTL', '8.2.3.8.7', rxQueue(0x14), 0x402, allBut([4, 0], [13, 8], [28, 22]), 'RW', [0x2100, 4, 16]),
  row('RDRXCTL', '8.2.3.8.8', 0x2f00, 0x8 << 17, allBut([1, 1], [3, 3], [21, 17], [26, 25])),
  row('RXPBSIZE', '8.2.3.8.9', [0x3c00, 4, 8], 0x200 << 10, allBut([19, 10])),
  row('RXCTRL', '8.2.3.8.10', 0x3000, 0, allBut([0, 0])),
  row('RXMEMWRAP', '8.2.3.8.11', 0x3190, 0x88888888, 0, 'RO'),
  row('RSCDBU', '8.2.3.8.12', 0x3028),
  row('RSCCTL', '8.2.3.8.13', rxQueue(0x2c)),
  row('RTRUP2TC', '8.2.3.10.4', 0x3020),
  row('RTRPCS', '8.2.3.10', 0x2430),
  row('RTRPT4C', '8.2.3.10', [0x2140, 4, 8]),
  row('DCA_RXCTRL', '8.2.3.11.1', rxQueue(0x0c), 0xb200, 0, 'RW', [0x2200, 4, 16]),
  row('SECRXCTRL', '8.2.3.12.5', 0x8d00, 1, allBut([1, 0])),
  row('SECRXSTAT', '8.2.3.12.6', 0x8d04, 0, 0, 'RO'),
  row('FDIRCTRL', '8.2.3.21', 0xee00),
  row('PFQDE', '8.2.3.27.9', 0x2f04),
  row('PFVLVF', '8.2.3.27.15', [0xf100, 4, 64], 'X'),
  row('PFVLVFB', '8.2.3.27.16', [0xf200, 4, 128], 'X'),
  row('PFUTA', '8.2.3.27.17', [0xf400, 4, 128], 'X'),
  row('PFVTCTL', '8.2.3.27', 0x51b0),
];

const TRANSMIT: readonly Register[] = [
  row('DTXMXSZRQ', '8.2.3.9.1', 0x8100, 0x10, allBut([11, 0])),
  row('DMATXCTL', '8.2.3.9.2', 0x4a80, 0x81000000, allBut([0, 0], [3, 3], [31, 16])),
  row('DTXTCPFLGL', '8.2.3.9.3', 0x4a88, 0x0ff60ff6),
  row('DTXTCPFLGH', '8.2.3.9.4', 0x4a8c, 0x0f7f),
  row('TDBAL', '8.2.3.9.5', [0x6000, 0x40, 128], 'X'),
  row('TDBAH', '8.2.3.9.6', [0x6004, 0x40, 128], 'X'),
  row('TDLEN', '8.2.3.9.7', [0x6008, 0x40, 128], 0, allBut([19, 0])),
  row('TDH', '8.2.3.9.8', [0x6010, 0x40, 128], 0, allBut([15, 0])),
  row('TDT', '8.2.3.9.9', [0x6018, 0x40, 128], 0, allBut([15, 0])),
  row('TXDCTL', '8.2.3.9.10', [0x6028, 0x40, 128], 0, allBut([6, 0], [14, 8], [22, 16], [26, 25])),
  row('TDWBAL', '8.2.3.9.11', [0x6038, 0x40, 128]),
  row('TDWBAH', '8.2.3.9.12', [0x603c, 0x40, 128]),
  row('TXPBSIZE', '8.2.3.9.13', [0xcc00, 4, 8], 0xa0 << 10, allBut([19, 10])),
  row('MNGTXMAP', '8.2.3.9.14', 0xcd10),
  row('MTQC', '8.2.3.9.15', 0x8120, 0, allBut([3, 0])),
  row('TXPBTHRESH', '8.2.3.9.16', [0x4950, 4, 8], 0x96, allBut([9, 0])),
  row('RTTDCS', '8.2.3.10.2', 0x4900, 3 << 22),
  row('RTTPCS', '8.2.3.10', 0xcd00),
  row('RTTUP2TC', '8.2.3.10', 0xc800),
  row('RTTDQSEL', '8.2.3.10.13', 0x4904),
  row('RTTDT1C', '8.2.3.10.14', 0x4908, 'X'),
  row('RTTBCNRC', '8.2.3.10.16', 0x4984),
  row('RTTDT2C', '8.2.3.10', [0x4910, 4, 8]),
  row('RTTPT2C', '8.2.3.10', [0xcd20, 4, 8]),
  row('DCA_TXCTRL', '8.2.3.11.2', [0x600c, 0x40, 128], 0x2a00),
  row('SECTXCTRL', '8.2.3.12', 0x8800, 1),
  row('SECTXSTAT', '8.2.3.12', 0x8804, 0, 0, 'RO'),
  row('SECTXMINIFG', '8.2.3.12', 0x8810),
  row('PFDTXGSWC', '8.2.3.27', 0x8220),
];

const MAC: readonly Register[] = [
  row('HLREG0', '8.2.3.22.8', 0x4240, 0x0801040b, allBut([2, 0], [10, 10], [17, 15], [23, 20], [28, 27])),
  row('MAXFRS', '8.2.3.22.13', 0x4268, 0x5ee << 16, allBut([31, 16])),
  row('AUTOC', '8.2.3.22.19', 0x42a0, 3 << 13), // 10 GbE serial without auto-negotiation, as an EEPROM for SFP+ has it
  row('LINKS', '8.2.3.22.20', 0x42a4, 0, 0, 'RO'),
  row('LINKS2', '8.2.3.22.21', 0x4324, 0, 0, 'RO'),
  row('AUTOC2', '8.2.3.22.22', 0x42a8),
  row('ANLP1', '8.2.3.22.23', 0x42b0, 0, 0, 'RO'),
  row('MFLCN', '8.2.3.22.34', 0x4294, 0, allBut([3, 0])),
  row('MACC', '8.2.3.22', 0x4330),
];

/** Statistics (section 8.2.3.23): RC, but the mappings of queues to counters. */
function counter(name: string, where: Span | number): Register {
  return row(name, '8.2.3.23', where, 0, 0, 'RC');
}

const STATISTICS: readonly Register[] = [
  row('RQSMR', '8.2.3.23', [0x2300, 4, 32]),
  row('TQSM', '8.2.3.23', [0x8600, 4, 32]),
  row('RXDSTATCTRL', '8.2.3.23', 0x2f40),
  counter('CRCERRS', 0x4000), counter('ILLERRC', 0x4004), counter('ERRBC', 0x4008),
  counter('MSPDC', 0x4010), counter('MLFC', 0x4034), counter('MRFC', 0x4038), counter('RLEC', 0x4040),
  counter('LXONTXC', 0x3f60), counter('LXOFFTXC', 0x3f68), counter('LXONRXCNT', 0x41a4), counter('LXOFFRXCNT', 0x41a8),
  counter('PRC64', 0x405c), counter('PRC127', 0x4060), counter('PRC255', 0x4064), counter('PRC511', 0x4068),
  counter('PRC1023', 0x406c), counter('PRC1522', 0x4070), counter('GPRC', 0x4074), counter('BPRC', 0x4078),
  counter('MPRC', 0x407c), counter('GPTC', 0x4080), counter('GORCL', 0x4088), counter('GORCH', 0x408c),
  counter('GOTCL', 0x4090), counter('GOTCH', 0x4094), counter('RUC', 0x40a4), counter('RFC', 0x40a8),
  counter('ROC', 0x40ac), counter('RJC', 0x40b0), counter('MNGPRC', 0x40b4), counter('MNGPDC', 0x40b8), counter('MNGPTC', 0xcf90),
  counter('TORL', 0x40c0), counter('TORH', 0x40c4), counter('TPR', 0x40d0), counter('TPT', 0x40d4),
  counter('PTC64', 0x40d8), counter('PTC127', 0x40dc), counter('PTC255', 0x40e0), counter('PTC511', 0x40e4),
  counter('PTC1023', 0x40e8), counter('PTC1522', 0x40ec), counter('MPTC', 0x40f0), counter('BPTC', 0x40f4), counter('XEC', 0x4120),
  counter('RXMPC', [0x3fa0, 4, 8]),
  counter('RXDGPC', 0x2f50), counter('RXDGBCL', 0x2f54), counter('RXDGBCH', 0x2f58),
  counter('TXDGPC', 0x87a0), counter('TXDGBCL', 0x87a4), counter('TXDGBCH', 0x87a8), counter('SSVPC', 0x8780),
  counter('QPRC', [0x1030, 0x40, 16]), counter('QBRC_L', [0x1034, 0x40, 16]), counter('QBRC_H', [0x1038, 0x40, 16]),
  counter('QPRDC', [0x1430, 0x40, 16]),
  counter('QPTC', [0x8680, 4, 16]), counter('QBTC_L', [0x8700, 8, 16]), counter('QBTC_H', [0x8704, 8, 16]),
];

export const REGISTERS: readonly Register[] = [...GENERAL, ...FLOW_CONTROL, ...INTERRUPTS, ...RECEIVE, ...TRANSMIT, ...MAC, ...STATISTICS];

const BY_NAME = new Map(REGISTERS.map(register => [register.name, register]));

/** The byte offsets of all registers of a name, by index. */
export function offsets(name: string): number[] {
  const register = BY_NAME.get(name);
  if (register === undefined) throw new Error(`The model has no register ${name}.`);
  return register.spans.flatMap(([base, stride, count]) => Array.from({ length: count }, (_, n) => base + stride * n));
}

/** The byte offset of one: `at('RDT', 70)`. */
export function at(name: string, n = 0): number {
  const offset = offsets(name)[n];
  if (offset === undefined) throw new Error(`There is no ${name}[${n}].`);
  return offset;
}
