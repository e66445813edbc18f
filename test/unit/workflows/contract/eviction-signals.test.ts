import { anything, assert, constantFrom, property } from 'fast-check';
import { evictorSignalNames } from '../../../../workflows/contract/eviction';
import { parseEvictorSignal } from '../../../../workflows/contract/eviction-signals';

const entryId = '0f8fad5b-d9cb-469f-a165-70867728950e';

it.each([
  ['evict', { entryId }],
  ['evict', { count: 3, dryRun: true, reason: 'why', requestId: 'r' }],
  ['evict', { cacheKey: 'abcd', flatten: true }],
  ['sweep', {}],
  ['pin', { imageId: entryId, by: 'ada' }],
  ['setLimits', { limits: { freeLowWater: 0.1, idleAgeMs: null, policy: 'lru', enabled: false } }],
  ['setLimits', { limits: { freeLowWater: 0.2, freeHighWater: 0.2 } }],
  ['configure', { sweepIntervalMs: null }],
  ['forgetRefusal', { cacheKey: '0123abcd', by: 'ada' }],
] as const)('%s takes %j, and what has passed passes again', (signal, given) => {
  const parsed = parseEvictorSignal(signal, [given]);
  expect(parsed).toEqual({ kind: 'passed', value: { signal, given } });
});

it.each([
  ['evict', [{ entryId: 'x' }], 'entryId: got "x", allowed is a UUID in lower case'],
  ['evict', [{ cacheKey: 'ABCD' }], 'cacheKey: got "ABCD", allowed is a short cache key or its beginning'],
  ['pin', [{ count: 1 }], 'count: got 1, allowed is no such field'],
  ['setLimits', [{ limits: { maxBytes: 1.5 } }], 'limits.maxBytes: got 1.5, allowed is a whole number from 1'],
  ['setLimits', [{ limits: { freeLowWater: 2 } }], 'limits.freeLowWater: got 2, allowed is a share from 0 to 1'],
  [
    'setLimits',
    [{ limits: { freeLowWater: 0.3, freeHighWater: 0.2 } }],
    'limits.freeLowWater: got 0.3, allowed is at most freeHighWater, 0.2',
  ],
  ['setLimits', [{ limits: { maxBytes: 0 } }], 'limits.maxBytes: got 0, allowed is a whole number from 1'],
  [
    'evict',
    [{ count: 1, reason: 'a\0b' }],
    'reason: got "a\\u0000b", allowed is well-formed text of 1 to 500 characters',
  ],
  ['pin', [{ entryId, by: '\ud800' }], 'by: got "\\ud800", allowed is well-formed text of 1 to 100 characters'],
  ['setLimits', [{}], 'limits: got nothing'],
  ['configure', [{}], 'sweepIntervalMs: got nothing'],
  ['forgetRefusal', [{ by: 'ada' }], 'cacheKey: got nothing'],
  ['sweep', [{ constructor: 1 }], 'constructor: got 1, allowed is no such field'],
] as const)('%s of %j is refused with field, value and what is allowed', (signal, args, why) => {
  expect(parseEvictorSignal(signal, args)).toMatchObject({ kind: 'refused', why: expect.stringContaining(why) });
});

it('never throws, whatever comes', () => {
  assert(
    property(constantFrom(...evictorSignalNames), anything(), (signal, given) => {
      const parsed = parseEvictorSignal(signal, [JSON.parse(JSON.stringify(given) ?? 'null')]);
      expect(['passed', 'refused']).toContain(parsed.kind);
    }),
  );
});

it.each([
  ['an unknown field', [{ requestId: 'mine', volumeId: 'x' }]],
  ['too many values', [{ requestId: 'mine' }, {}]],
])('a refusal for %s keeps the request id of its caller', (_, args) => {
  expect(parseEvictorSignal('evict', args)).toMatchObject({ kind: 'refused', requestId: 'mine' });
});
