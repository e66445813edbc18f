import { bytesAxis, niceTop, secondsAxis } from '../../../../../client/cli/report/axis';
import { GiB, MiB } from '../../../../../workflows/contract/bytes';

it.each([
  [1, 1],
  [3, 4],
  [11, 20],
  [999, 1000],
  [0.07, 0.08],
])('ends an axis for %d at the round number %d', (value, top) => {
  expect(niceTop(value)).toBeCloseTo(top);
});

it('ends an axis of bytes at a power of two, also when there are none', () => {
  expect(bytesAxis(3 * GiB).top).toBe(4 * GiB);
  expect(bytesAxis(3 * GiB).format(MiB)).toBe('1 MiB');
  expect(bytesAxis(0).top).toBe(4);
});

it('writes all times of an axis in one unit', () => {
  const { top, format } = secondsAxis(1536);
  expect([0, top / 2, top].map(format)).toEqual(['0 min', '20 min', '40 min']);
  expect(secondsAxis(0).format(0.25)).toBe('0.25 s');
  expect(secondsAxis(200_000).format(2 * 86_400)).toBe('2 d');
});
