import { visibleJson, visibleText } from '../../../../workflows/contract/visible-text';

it.each([
  ['ESC, as OSC 52 begins', '\u001b]52;c;eA==\u0007', '\\u001b]52;c;eA==\\u0007'],
  ['line breaks and tabs', 'a\r\nb\tc', 'a\\r\\nb\\tc'],
  ['NUL, DEL and C1', '\u0000\u007f\u0080\u009b\u009f', '\\u0000\\u007f\\u0080\\u009b\\u009f'],
  [
    'overrides, isolates and marks of direction',
    '\u202e\u2066\u2069\u200f\u061c',
    '\\u202e\\u2066\\u2069\\u200f\\u061c',
  ],
  ['separators of lines and paragraphs', '\u2028\u2029', '\\u2028\\u2029'],
])('writes %s as escapes', (_, text, shown) => {
  expect(visibleText(text)).toBe(shown);
});

it('leaves every other text as it is, and what it has written', () => {
  const plain = 'Ünïcode 日本語 שלום 👩‍🚀 "quoted" \\n %s';
  expect(visibleText(plain)).toBe(plain);
  expect(visibleText(visibleText('a\nb'))).toBe('a\\nb');
});

it('keeps what a JSON document means, and its line breaks', () => {
  const value = { name: '\u001b\u009b2J\u007f\u202e\u2028\n"\\', list: ['\u0085'] };
  const json = visibleJson(JSON.stringify(value, null, 2));
  expect(JSON.parse(json)).toEqual(value);
  expect(json).not.toMatch(/[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  expect(json.split('\n')).toHaveLength(6);
});
