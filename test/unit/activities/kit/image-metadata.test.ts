import { imageMetadataOf } from '../../../../activities/kit/image-metadata';
import { imageSchema } from '../../../../activities/glance/schema';
import { Failure } from '../../../../workflows/contract/failures';

const record = {
  id: '0f8fad5b-d9cb-469f-a165-70867728950e',
  status: 'active',
  name: 'debian-12',
  container_format: 'bare',
  disk_format: 'qcow2',
  size: 1024,
  min_disk: 3,
  min_ram: 512,
  checksum: 'c0ffee',
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
};

const own = {
  image_id: record.id,
  image_name: 'debian-12',
  container_format: 'bare',
  disk_format: 'qcow2',
  size: '1024',
  min_disk: '3',
  min_ram: '512',
  checksum: 'c0ffee',
};

/** As the image service sends it. */
const metadataOf = (properties: string | object) => {
  const sent = typeof properties === 'string' ? properties : JSON.stringify(properties);
  return imageMetadataOf(imageSchema.parse({ ...(JSON.parse(sent) as object), ...record }));
};

function refusalOf(properties: object): unknown {
  try {
    return metadataOf(properties);
  } catch (error) {
    return error instanceof Failure ? { type: error.type, ...error.details } : error;
  }
}

it('is the record’s own fields as strings, and all properties', () => {
  const properties = { os_distro: 'debian', hw_disk_bus: 'scsi', empty: '', 'owner_specified.x': 'y' };
  expect(metadataOf(properties)).toEqual({ ...own, ...properties });
});

it('leaves out what the record does not say', () => {
  const image = imageSchema.parse({ ...record, name: null, checksum: null });
  const { image_name: _name, checksum: _checksum, ...rest } = own;
  expect(imageMetadataOf(image)).toEqual(rest);
  expect(imageMetadataOf({ ...image, name: '' })).toEqual(rest);
});

it('takes control characters as they are, and the record’s word before a property’s', () => {
  const properties = { 'a\nb': '\u0007\u001b[31m', image_id: 'another', image_name: 'another' };
  expect(metadataOf(properties)).toEqual({ ...own, 'a\nb': '\u0007\u001b[31m' });
});

it('takes no values but strings, and no name that means something to JavaScript', () => {
  const sent = '{"n": 1, "b": true, "o": {"a": "b"}, "l": ["x"], "nothing": null, "__proto__": {"evil": "yes"}}';
  expect(metadataOf(sent)).toEqual(own);
  const named = metadataOf('{"__proto__": "text", "constructor": "c", "toString": "t", "hasOwnProperty": "h"}');
  const kept = Object.entries({ constructor: 'c', toString: 't', hasOwnProperty: 'h' });
  expect(new Map(Object.entries(named))).toEqual(new Map([...Object.entries(own), ...kept]));
  expect(Object.getPrototypeOf(named)).toBe(Object.prototype);
  expect({}).not.toHaveProperty('evil');
});

it.each([
  ['the longest name', { ['n'.repeat(255)]: 'v' }],
  ['a name of characters beyond 16 bits', { ['\u{1f600}'.repeat(255)]: 'v' }],
  ['a value of many kilobytes', { v: 'x'.repeat(60_000) }],
  ['as many as there may be', Object.fromEntries(Array.from({ length: 248 }, (_none, n) => [`p${n}`, 'v']))],
])('takes %s whole', (_what, properties) => {
  expect(metadataOf(properties)).toEqual({ ...properties, ...own });
});

it.each([
  ['too long a name', { ['n'.repeat(256)]: 'v' }, expect.stringMatching(/256 characters/)],
  ['too large a value', { v: 'x'.repeat(65_536) }, expect.stringMatching(/ bytes/)],
  ['too many bytes in all', { a: '\u00e4'.repeat(20_000), b: 'x'.repeat(30_000) }, expect.stringMatching(/ bytes/)],
  [
    'thousands of them',
    Object.fromEntries(Array.from({ length: 5000 }, (_none, n) => [`p${n}`, 'v'])),
    'described by 5008 properties',
  ],
])('refuses %s, whatever else there is', (_what, properties, found) => {
  expect(refusalOf(properties)).toMatchObject({ type: 'ImageUnsupported', imageId: record.id, found });
});
