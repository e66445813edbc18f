import { randomUUID } from 'node:crypto';
import { assert, jsonValue, property } from 'fast-check';
import { parseCreateVolumeRequest, volumeIdOf } from '../../../../activities/create/create-volume-request';
import { Failure } from '../../../../workflows/contract/failures';

const imageId = randomUUID();
const volumeId = randomUUID();

function refusalOf(input: unknown): unknown {
  try {
    parseCreateVolumeRequest(input);
    return undefined;
  } catch (error) {
    return error instanceof Failure ? { type: error.type, ...error.details } : error;
  }
}

describe('parseCreateVolumeRequest', () => {
  it('takes an image id alone, and all fields together, as they are given', () => {
    expect(parseCreateVolumeRequest({ imageId })).toEqual({ imageId });
    const all = {
      imageId,
      volumeId,
      backend: 'local',
      sizeBytes: 512,
      projectId: 'p',
      name: 'n',
      metadata: { key: '' },
      bypassCache: true,
    };
    expect(parseCreateVolumeRequest(all)).toEqual(all);
  });

  it.each([
    [undefined, 'input', 'nothing'],
    [{ imageId, sizeBytes: 513 }, 'sizeBytes', '513'],
    [{ imageId, sizeBytes: 0 }, 'sizeBytes', '0'],
    [{ imageId, metadata: { a: 'x'.repeat(256) } }, 'metadata.a', expect.stringMatching(/^"x{119}…$/)],
    [{ imageId, name: '\0' }, 'name', '"\\u0000"'],
    [{ imageId, name: 'x\ud800' }, 'name', '"x\\ud800"'],
    [{ imageId, sizeByte: 512 }, 'sizeByte', '512'],
  ])('refuses %j and names the field, its value and what is allowed', (input, field, value) => {
    expect(refusalOf(input)).toMatchObject({
      type: 'InvalidRequest',
      field,
      value,
      allowed: expect.stringMatching(/./),
    });
  });

  it('takes the name of a follow in place of an image id', () => {
    expect(parseCreateVolumeRequest({ imageId: 'follow:debian-12' })).toEqual({ imageId: 'follow:debian-12' });
  });

  it.each(['follow:', 'follow:a b', 'follow:../x', `follow:${'x'.repeat(65)}`, 'follow', 'Follow:x', 'debian-12'])(
    'refuses %j as an image',
    (given) => {
      expect(refusalOf({ imageId: given })).toMatchObject({
        field: 'imageId',
        allowed: 'a UUID in lower case, or follow:<name>',
      });
    },
  );

  it('refuses more metadata than it would keep', () => {
    const metadata = Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`key-${index}`, 'x']));
    expect(refusalOf({ imageId, metadata })).toMatchObject({ field: 'metadata', allowed: 'at most 128 entries' });
  });

  it('answers whatever JSON there is with a request or with InvalidRequest', () => {
    assert(
      property(jsonValue(), (input) => {
        expect(refusalOf(input) ?? { type: 'InvalidRequest' }).toMatchObject({ type: 'InvalidRequest' });
      }),
    );
    expect(refusalOf({ imageId })).toBeUndefined();
  });
});

describe('volumeIdOf', () => {
  it('takes the id in a workflow id volume/<uuid>, and refuses another one beside it', () => {
    expect(volumeIdOf(`volume/${volumeId}`, { imageId })).toBe(volumeId);
    expect(volumeIdOf(`volume/${volumeId}`, { imageId, volumeId })).toBe(volumeId);
    expect(volumeIdOf(`volume/${volumeId}`, { imageId }, 'blue-')).toBe(volumeId);
    expect(volumeIdOf(`blue-volume/${volumeId}`, { imageId }, 'blue-')).toBe(volumeId);
    expect(volumeIdOf(`green-volume/${volumeId}`, { imageId }, 'blue-')).not.toBe(volumeId);
    const other = randomUUID();
    const refused = expect.objectContaining({
      type: 'InvalidRequest',
      details: { field: 'volumeId', value: other, allowed: expect.stringContaining(volumeId) },
    });
    expect(() => volumeIdOf(`volume/${volumeId}`, { imageId, volumeId: other })).toThrow(refused);
  });

  it('takes the input’s under any other workflow id, else always the same one that follows from it', () => {
    expect(volumeIdOf('nightly', { imageId, volumeId })).toBe(volumeId);
    expect(volumeIdOf('nightly', { imageId })).toBe(volumeIdOf('nightly', { imageId }));
    expect(volumeIdOf('nightly', { imageId })).not.toBe(volumeIdOf('weekly', { imageId }));
    expect(volumeIdOf('volume/no-uuid', { imageId })).toMatch(/^[0-9a-f-]{36}$/);
  });
});
