import {
  Failure,
  failureOfImage,
  failures,
  holdsForCacheKey,
  isFailureType,
  publicMessage,
  type FailureDetails,
  type FailureType,
} from '../../../../workflows/contract/failures';
import { refusals } from '../../../support/refusals';

/** One of every kind: a type that is added to the table has to be added here. */
const examples: FailureDetails = {
  InvalidRequest: { field: 'sizeBytes', value: '5', allowed: 'a multiple of 512' },
  Conflict: { volumeId: 'v', found: 'another request' },
  VolumeNotFound: { volumeId: 'v' },
  VolumeDeleted: { volumeId: 'v' },
  VolumeInUse: { volumeId: 'v', by: 'a QEMU process' },
  VolumeBusy: { volumeId: 'v', workflowId: 'my-create' },
  CreateCancelled: { volumeId: 'v' },
  ImageNotFound: { imageId: 'i' },
  FollowNotFound: { follow: 'f', backend: 'b', found: 'unknown' },
  ImageNotActive: { imageId: 'i', status: 'queued' },
  ImageUnsupported: { imageId: 'i', found: 'ploop', allowed: 'raw' },
  ImageRefused: { imageId: 'i', rule: 'backing-file', found: 'one', allowed: 'none', offset: 8 },
  ImageChanged: { imageId: 'i', found: 'a', allowed: 'b' },
  TransferCorrupt: { imageId: 'i', found: 'a', allowed: 'b' },
  CacheKeyCollision: { shortKey: 'k' },
  NoSpace: { backend: 'local', neededBytes: 2, freeBytes: 1 },
  CloneLimitReached: { backend: 'local', parent: 'p', limit: 3 },
  ParentUnusable: { backend: 'local', parent: 'p', found: 'absent' },
  BudgetSpent: { volumeId: 'v', budgetMs: 4000, last: 'no answer' },
  ForeignObject: { backend: 'local', object: 'o' },
  ForeignRun: { workflowId: 'evict/local', found: 'a-image-volume-cache', allowed: 'image-volume-cache' },
  ToolFailed: { tool: 'qemu-img', exit: 'code 1', stderr: 'secret' },
  ScratchFull: { host: 'h', neededBytes: 2, freeBytes: 1 },
  ScratchUnavailable: { host: 'h', cause: 'c' },
  ScratchTooSmall: { host: 'h', neededBytes: 2, capacityBytes: 1 },
  HostLost: { host: 'h' },
  FlightClosing: { flight: 'populate/local/k' },
  StillRunning: { workflowId: 'volume/v' },
  ImageServiceUnavailable: { service: 'http://glance:9292', cause: 'secret' },
  BackendUnavailable: { backend: 'local', cause: 'secret' },
  DatabaseUnavailable: { cause: 'secret' },
  DatabaseRefused: { sqlState: '22P05', cause: 'secret' },
  Internal: { cause: 'cloneVolume' },
};
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
    expect(message).not.toMatch(/undefined|\[object|secret/);
  });

  it('says these sentences', () => {
    expect(Object.fromEntries(types.map((type) => [type, publicMessage(type, examples[type])]))).toMatchSnapshot();
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
    expect(new Failure('NoSpace', examples.NoSpace).message).toBe('backend local has no space: 2 bytes needed, 1 free');
  });
});
