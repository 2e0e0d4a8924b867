/**
 * An access control list in the arena: rules of five ranges over IPv4 5-tuples, and a table that finds the first that
 * matches. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * Aggregated bit vectors (Lakshman and Stiliadis, SIGCOMM 1998; Baboescu and Varghese, SIGCOMM 2001). The rules stand in
 * the order of their priority. Each field's values fall into classes, of values that the same rules allow; each class
 * has a bit for each rule. A packet's five classes are looked up, and the first bit that stands in all five is its rule.
 * In front of each class's bits stand 128 more, one for each 128 rules, which say where any bit is: they are looked
 * at first, so that the time grows far slower than the rules (bench/lookup_curves.ts). It was chosen before decision trees
 * because nothing in it explodes: memory is at most classes times rules, whatever the rules are, and a lookup is a bounded
 * number of loads.
 *
 * A field's value becomes its class by a direct table for ports and protocol. For addresses, the upper 16 bits are an
 * index: an entry has the class, or says which of the sorted ranges lie there, for a binary search.
 *
 * A set of rules is built beside the one in use, in a memzone of its own, and put in its place by one store. The old one
 * stays until the next build, for readers that are at it.
 */
export const ACL_MAGIC = 0x4c4341; // "ACL"
// The header's zone.
export const ACL_KIND = 0;
/** u32: offset of the table in use; 0 before the first build. */
export const ACL_ACTIVE = 4;
/** u32: how many builds there were; the only lcore that may build, plus one. */
export const ACL_BUILDS = 8;
export const ACL_WRITER = 12;
export const ACL_BYTES = 64;

// A table's zone. u32: rules; bytes of a class's bits, those in front included.
export const TABLE_RULES = 0;
export const TABLE_STRIDE = 4;
/** u32: offset of the values of all rules; of the rules themselves. */
export const TABLE_VALUES = 8;
export const TABLE_RECORDS = 12;
/** u32: rules that say the same as an earlier one, and so never match. */
export const TABLE_DUPLICATES = 16;
/** Five fields: source, destination, source port, destination port, protocol. u32: offset of the index; of the sorted ranges (addresses only); of the classes' bits; how many classes. */
export const TABLE_FIELDS = 32;
export const FIELD_BYTES = 16;
export const FIELD_INDEX = 0;
export const FIELD_RANGES = 4;
export const FIELD_BITS = 8;
export const FIELD_CLASSES = 12;
export const TABLE_BYTES = 128;

/** An address's index entry: this bit and a class; or how many ranges less one, and the first of them. A range is u32 first address, u32 class. */
export const INDEX_CLASS = 0x80000000;
export const INDEX_COUNT_SHIFT = 16;
export const RANGE_BYTES = 8;

/** Rules in each of the 128 steps; and at most, so that ranges can be counted in 15 bits. */
export const ACL_STEP = 128;
export const ACL_RULES_MAX = 16383;
/** Bytes of the bits that stand in front. */
export const ACL_FRONT = 16;

/** A rule: u32 first and last source, first and last destination; u16 first and last port, twice; u8 first and last protocol. */
export const RULE_BYTES = 28;
export const RULE_SOURCE = 0;
export const RULE_DESTINATION = 8;
export const RULE_SOURCE_PORT = 16;
export const RULE_DESTINATION_PORT = 20;
export const RULE_PROTOCOL = 24;

/** What is looked up: u32 source and destination, u16 ports, u8 protocol, all in host order; 3 bytes that nobody looks at. */
export const TUPLE_BYTES = 16;
export const TUPLE_SOURCE = 0;
export const TUPLE_DESTINATION = 4;
export const TUPLE_SOURCE_PORT = 8;
export const TUPLE_DESTINATION_PORT = 10;
export const TUPLE_PROTOCOL = 12;

/** What a lookup says when no rule matches. */
export const ACL_NONE = 0xffffffff;
