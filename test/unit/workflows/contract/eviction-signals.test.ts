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
  ['evict', [{ entryId: 'x' }], 'entryId: got "x"'],
  ['evict', [{ cacheKey: 'ABCD' }], 'cacheKey: got "ABCD"'],
  ['pin', [{ count: 1 }], 'count: got 1'],
  ['setLimits', [{ limits: { maxBytes: 1.5 } }], 'limits.maxBytes: got 1.5'],
  ['setLimits', [{ limits: { freeLowWater: 2 } }], 'limits.freeLowWater: got 2'],
  ['setLimits', [{ limits: { freeLowWater: 0.3, freeHighWater: 0.2 } }], 'limits.freeLowWater: got 0.3'],
  ['setLimits', [{ limits: { maxBytes: 0 } }], 'limits.maxBytes: got 0'],
  ['evict', [{ count: 1, reason: 'a\0b' }], 'reason: got "a\\u0000b"'],
  ['pin', [{ entryId, by: '\ud800' }], 'by: got "\\ud800"'],
  ['setLimits', [{}], 'limits: got nothing'],
  ['configure', [{}], 'sweepIntervalMs: got nothing'],
  ['forgetRefusal', [{ by: 'ada' }], 'cacheKey: got nothing'],
  ['sweep', [{ constructor: 1 }], 'constructor: got 1'],
] as const)('%s of %j is refused with field, value and what is allowed', (signal, args, why) => {
  const refused = parseEvictorSignal(signal, args);
  expect(refused).toMatchObject({ kind: 'refused', why: expect.stringContaining(why) });
  expect(refused).toMatchSnapshot();
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
