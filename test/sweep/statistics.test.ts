import fc from 'fast-check';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { median, overlap, ratioTo, relativeRange, spread } from '../../lib/sweep/statistics.js';

const value = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true });
const values = fc.array(value, { minLength: 1, maxLength: 50 });

t.test('median: half of the values lie on either side, whatever their order', async (t) => {
  fc.assert(fc.property(values, (rounds) => {
    const middle = median(rounds);
    const below = rounds.filter((one) => one <= middle).length;
    const above = rounds.filter((one) => one >= middle).length;
    return below * 2 >= rounds.length && above * 2 >= rounds.length && middle === median([...rounds].reverse());
  }));
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.equal(median([Number.MAX_VALUE, Number.MAX_VALUE]), Number.MAX_VALUE, 'no overflow');
});

t.test('spread: the range holds every round and the median, and the rounds keep their order', async () => {
  fc.assert(fc.property(values, (rounds) => {
    const found = spread(rounds);
    return found.min <= found.median && found.median <= found.max && rounds.every((one) => one >= found.min && one <= found.max) &&
      rounds.includes(found.min) && rounds.includes(found.max) && found.rounds.every((one, index) => one === rounds[index]);
  }));
});

t.test('no value, or one that is not finite, is a typed error', async (t) => {
  for (const bad of [[], [NaN], [1, Infinity]]) {
    t.throws(() => median(bad), { code: 'EOPTION' });
    t.throws(() => spread(bad), PollmodeError);
  }
});

t.test('ratioTo: the ratio of the medians, between the least and the most that the rounds allow', async (t) => {
  fc.assert(fc.property(values, values, (a, b) => {
    const found = ratioTo(spread(a), spread(b));
    return found === undefined ? spread(b).median === 0 : found.low <= found.ratio && found.ratio <= found.high;
  }));
  t.same(ratioTo(spread([10, 20, 30]), spread([1, 2, 4])), { ratio: 10, low: 2.5, high: 30 });
  t.equal(ratioTo(spread([1]), spread([0])), undefined);
});

t.test('relativeRange and overlap', async (t) => {
  t.equal(relativeRange(spread([9, 10, 12])), 0.3);
  t.equal(relativeRange(spread([0])), 0);
  t.ok(overlap(spread([1, 5]), spread([5, 9])));
  t.notOk(overlap(spread([1, 5]), spread([6, 9])));
  t.notOk(overlap(spread([6, 9]), spread([1, 5])));
});
