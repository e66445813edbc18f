import { InvalidArgumentError } from 'commander';
import { assert, property, string } from 'fast-check';
import {
  collectBackends,
  collectPairs,
  collectTexts,
  parseBackend,
  parseBytes,
  parseCount,
  parseKeyPrefix,
  parseSizeBytes,
  parseUuid,
  parseVolumeSize,
  parseWholeGiB,
  parseWholeNumber,
} from '../../../../client/cli/values';
import { parseEvictorSignal } from '../../../../workflows/contract/eviction-signals';
import { GiB, MiB } from '../../../../workflows/contract/bytes';

describe('parseKeyPrefix', () => {
  it.each(['abcd', 'ABCD', '0'.repeat(32)])('takes %s as a signal does', (text) => {
    expect(parseEvictorSignal('pin', [{ cacheKey: parseKeyPrefix(text) }]).kind).toBe('passed');
  });

  it.each(['abc', 'abcg', '0'.repeat(33), ''])('refuses %j as a signal does', (text) => {
    expect(() => parseKeyPrefix(text)).toThrow(InvalidArgumentError);
    expect(parseEvictorSignal('pin', [{ cacheKey: text }]).kind).toBe('refused');
  });
});

describe('parseBytes', () => {
  it.each([
    ['1048576', MiB],
    ['1000', 1000],
    ['512B', 512],
    ['1MiB', MiB],
    ['10GiB', 10 * GiB],
  ])('reads %s', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each(['', '0', '-1', '1.5', '10GB', '99999999999GiB'])('refuses %j and says what it got', (text) => {
    expect(() => parseBytes(text)).toThrow(`Got ${text === '' ? 'nothing' : text},`);
  });
});

describe('parseVolumeSize', () => {
  it.each([
    ['10GiB', 10 * GiB],
    ['10 GiB', 10 * GiB],
    ['10G', 10 * GiB],
    ['1.5GiB', 1.5 * GiB],
    ['1536MiB', 1536 * MiB],
    ['1TiB', 1024 * GiB],
    ['4KiB', 4096],
    ['1024B', 1024],
  ])('reads %s', (text, bytes) => {
    expect(parseVolumeSize(text)).toBe(bytes);
  });

  it.each(['', '0', '10', '1048576', '-1', 'ten', '10GB', '10 gib', '0.0001KiB', '511B', '1e3', 'NaN', '9999999TiB'])(
    'refuses %j and says what it got: a number alone could be anything',
    (text) => {
      expect(() => parseVolumeSize(text)).toThrow(`Got ${text === '' ? 'nothing' : text},`);
    },
  );

  it('answers whole sectors whatever it is given, or refuses', () => {
    assert(
      property(string(), (text) => {
        let bytes = 512;
        try {
          bytes = parseVolumeSize(text);
        } catch {
          return;
        }
        expect(bytes % 512).toBe(0);
        expect(bytes).toBeGreaterThan(0);
      }),
    );
  });
});

describe('parseSizeBytes', () => {
  it('reads a multiple of a sector', () => {
    expect(parseSizeBytes('1048576')).toBe(MiB);
  });

  it.each(['0', '511', '1.5', '-512', '1048577', 'x', '0x200'])('refuses %s', (text) => {
    expect(() => parseSizeBytes(text)).toThrow(`Got ${text}`);
  });
});

it('reads whole GiB, with the unit alone', () => {
  expect([parseWholeGiB('0'), parseWholeGiB('10GiB'), parseWholeGiB('2048MiB')]).toEqual([0, 10, 2]);
  for (const text of ['10', '1.5GiB', '1MiB']) expect(() => parseWholeGiB(text)).toThrow(`Got ${text},`);
});

it('reads a UUID in any case as the lower-case one', () => {
  expect(parseUuid('0F8FAD5B-d9cb-469f-a165-70867728950e')).toBe('0f8fad5b-d9cb-469f-a165-70867728950e');
  expect(() => parseUuid('0f8fad5b')).toThrow('Got 0f8fad5b,');
});

it('refuses a backend name that could be no path or queue', () => {
  expect(parseBackend('ceph-1')).toBe('ceph-1');
  expect(() => parseBackend('../etc')).toThrow('Got ../etc');
  expect(() => parseBackend('Local')).toThrow('Got Local');
});

it('collects key=value and keeps further equals signs in the value', () => {
  expect(collectPairs('b=1=2', collectPairs('a=', {}))).toEqual({ a: '', b: '1=2' });
  expect(() => collectPairs('novalue')).toThrow('Got novalue,');
  expect(() => collectPairs('=x')).toThrow('Got =x');
});

it('tells a count, which is above zero, from a whole number', () => {
  expect(parseCount('3')).toBe(3);
  expect(() => parseCount('0')).toThrow('Got 0');
  expect(parseWholeNumber('0')).toBe(0);
  expect(() => parseWholeNumber('1.5')).toThrow('Got 1.5');
});

it('collects what is given several times, and refuses each that is wrong', () => {
  expect(collectBackends('ceph', ['local'])).toEqual(['local', 'ceph']);
  expect(() => collectBackends('..', ['local'])).toThrow('Got ..,');
  expect(collectTexts('latest', collectTexts('stable'))).toEqual(['stable', 'latest']);
  expect(() => collectTexts('')).toThrow('Got nothing');
});
