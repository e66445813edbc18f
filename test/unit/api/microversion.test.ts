import { MOST_MINOR, parseMicroversion } from '../../../api/microversion';

describe('the microversion of a request', () => {
  it.each([
    [undefined, 0],
    ['volume 3.59', 59],
    ['compute 2.1, volume 3.8', 8],
    ['volume latest', MOST_MINOR],
    ['compute 2.1', 0],
  ])('%s is 3.%d', (header, minor) => expect(parseMicroversion(header)).toBe(minor));

  it.each([
    ['volume 3.999', 406],
    ['volume 2.0', 406],
    ['volume x', 400],
    ['volume 3', 400],
  ])('%s is refused with %d', (header, status) =>
    expect(() => parseMicroversion(header)).toThrow(expect.objectContaining({ status })),
  );
});
