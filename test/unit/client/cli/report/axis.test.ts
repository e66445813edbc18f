import { bytesAxis, niceTicks, secondsAxis } from '../../../../../client/cli/report/axis';
import { GiB, MiB } from '../../../../../workflows/contract/bytes';

it.each([
  [1, 1, 2],
  [3, 3, 3],
  [11, 15, 3],
  [999, 1000, 2],
  [0.07, 0.08, 4],
])('an axis for %d ends at %d, in %d steps', (value, top, steps) => {
  const axis = niceTicks(value);
  expect(axis.top).toBeCloseTo(top);
  expect(axis.steps).toBe(steps);
});

it('counts by whole numbers', () => {
  expect(niceTicks(1, 1)).toEqual({ top: 1, steps: 1 });
  expect(niceTicks(10, 1)).toEqual({ top: 10, steps: 2 });
});

it('ends an axis of bytes at a power of two, also when there are none', () => {
  expect(bytesAxis(3 * GiB).top).toBe(4 * GiB);
  expect(bytesAxis(3 * GiB).format(MiB)).toBe('1 MiB');
  expect(bytesAxis(0).top).toBe(4);
});

it('writes all times of an axis in one unit', () => {
  const { top, steps, format } = secondsAxis(1536);
  expect({ steps, shown: [0, top / steps, top].map(format) }).toEqual({
    steps: 3,
    shown: ['0 min', '10 min', '30 min'],
  });
  expect(secondsAxis(0).format(0.25)).toBe('0.25 s');
  expect(secondsAxis(200_000).format(2 * 86_400)).toBe('2 d');
});
