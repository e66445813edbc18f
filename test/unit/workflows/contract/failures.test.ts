import {
  Failure,
  failureOfImage,
  failures,
  holdsForCacheKey,
  isFailureType,
  publicMessage,
  type FailureType,
} from '../../../../workflows/contract/failures';
import { failureExamples as examples, FOR_OPERATORS } from '../../../support/failure-examples';
import { refusals } from '../../../support/refusals';

const types = Object.keys(failures) as FailureType[];

describe('the table of failures', () => {
  it('has an example of every type here, and no other', () => {
    expect(Object.keys(examples).sort()).toEqual([...types].sort());
  });

  it.each(types)('decides all of %s: retry, the exit code and one sentence for people', (type) => {
    const { retry, exitCode } = failures[type];
    expect([true, false]).toContain(retry);
    expect([1, 2, 3, 4, 5]).toContain(exitCode);
    const message = publicMessage(type, examples[type]);
    expect(message).toMatch(/^\S.{9,}[^.\s]$/);
    expect(message).not.toMatch(/undefined|\[object/);
    expect(message).not.toContain(FOR_OPERATORS);
  });

  it.each(types.filter((type) => failures[type].exitCode === 5))(
    'retries %s, for a service that is away comes back',
    (type) => {
      expect(failures[type].retry).toBe(true);
    },
  );

  it.each(refusals)('never retries the refusal %s', (type) => {
    expect(failures[type].retry).toBe(false);
  });

  it('knows its own types and nothing that objects inherit', () => {
    expect(isFailureType('NoSpace')).toBe(true);
    for (const other of ['toString', 'constructor', '', undefined, 5]) expect(isFailureType(other)).toBe(false);
  });

  it('tells a failure of the bytes to another image in its own name, and leaves alone what names no image', () => {
    const refused = new Failure('ImageRefused', examples.ImageRefused);
    const record = { type: refused.type, message: refused.message, details: { ...refused.details } };
    expect(failureOfImage(record, 'other')).toEqual({
      type: 'ImageRefused',
      message: refused.message.replace('image i ', 'image other '),
      details: { ...examples.ImageRefused, imageId: 'other' },
    });
    const full = { type: 'NoSpace' as const, message: 'no space', details: { backend: 'local' } };
    expect(failureOfImage(full, 'other')).toEqual(full);
  });

  it('holds a refusal against other images with the same bytes only where these have the right hash', () => {
    const record = (type: FailureType, details = {}) => ({ type, message: '', details });
    expect(holdsForCacheKey(record('ImageRefused', { bytesVerified: true }))).toBe(true);
    expect(holdsForCacheKey(record('ImageRefused'))).toBe(false);
    expect(holdsForCacheKey(record('ImageNotFound'))).toBe(false);
    expect(holdsForCacheKey(record('NoSpace'))).toBe(true);
  });

  it('gives a failure its public message', () => {
    expect(new Failure('NoSpace', examples.NoSpace).message).toBe(publicMessage('NoSpace', examples.NoSpace));
  });
});
