import { cacheKeyOf, contentHashOf, shortKeyOf } from '../../../../activities/kit/cache-key';
import type { Image } from '../../../../workflows/contract/image';
import type { ImageId } from '../../../../workflows/contract/ids';

const image = (more: Partial<Image> = {}): Image => ({
  id: '5f2b9c1e-0000-4000-8000-000000000001' as ImageId,
  name: null,
  status: 'active',
  visibility: 'private',
  owner: null,
  containerFormat: 'bare',
  diskFormat: 'qcow2',
  sizeBytes: 1,
  virtualSizeBytes: 1,
  minDiskGiB: 0,
  minRamMiB: 0,
  checksum: 'md5-of-it',
  hashAlgorithm: 'sha512',
  hashValue: 'abc',
  hidden: false,
  protected: false,
  tags: [],
  createdAt: '',
  updatedAt: '',
  properties: {},
  ...more,
});
const other = '5f2b9c1e-0000-4000-8000-000000000002' as ImageId;

describe('a cache key', () => {
  it('is the same for the same bytes and formats, whatever id, name, tags and times the image has', () => {
    const again = image({ id: other, name: 'other', tags: ['new'], updatedAt: 'later' });
    expect(cacheKeyOf(again)).toEqual(cacheKeyOf(image()));
  });

  it.each<[string, Partial<Image>]>([
    ['disk format', { diskFormat: 'raw' }],
    ['container format', { containerFormat: 'ovf' }],
    ['hash', { hashValue: 'abd' }],
    ['hash algorithm', { hashAlgorithm: 'sha256' }],
  ])('is another one for another %s', (_what, more) => {
    expect(cacheKeyOf(image(more)).short).not.toBe(cacheKeyOf(image()).short);
  });

  it.each<[string, Partial<Image>]>([
    ['md5', { hashAlgorithm: 'md5' }],
    ['sha1', { hashAlgorithm: 'sha1' }],
    ['none', { hashAlgorithm: null, hashValue: null }],
  ])('is the image’s own where a tenant can collide its hash: %s', (_what, more) => {
    const key = cacheKeyOf(image(more));
    expect(key.imageId).toBe(image().id);
    expect(cacheKeyOf(image({ ...more, id: other })).short).not.toBe(key.short);
    expect(contentHashOf(key)).toBe(`image-${image().id}`);
  });

  it('has a short form of 32 hex digits that follows from all its other fields', () => {
    const key = cacheKeyOf(image());
    expect(key.short).toMatch(/^[0-9a-f]{32}$/);
    expect(shortKeyOf(key)).toBe(key.short);
  });

  it('shares the bytes in the scratch among images that declare them differently', () => {
    expect(contentHashOf(cacheKeyOf(image({ diskFormat: 'raw' })))).toBe(contentHashOf(cacheKeyOf(image())));
  });
});
