import { formatDuration, plural, quote } from '../../../../workflows/contract/words';

it.each([
  [12.4, '12 ms'],
  [1500, '1.5 s'],
  [59_900, '59.9 s'],
  [250_000, '4 min 10 s'],
  [7_500_000, '2 h 5 min'],
])('writes %d ms as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

it('counts in words', () => {
  expect([plural(1, 'image'), plural(0, 'image'), plural(2, 'entry', 'entries')]).toEqual([
    '1 image',
    '0 images',
    '2 entries',
  ]);
});

it('quotes any value, shortened', () => {
  expect([undefined, null, 'a\nb', NaN, { a: 1 }].map(quote)).toEqual(['nothing', 'null', '"a\\nb"', 'NaN', '{"a":1}']);
  expect(quote('a'.repeat(300))).toBe(`"${'a'.repeat(119)}…`);
});
