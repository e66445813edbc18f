import { imageSchema } from '../../../../activities/glance/schema';

const record = {
  id: '0f8fad5b-d9cb-469f-a165-70867728950e',
  status: 'active',
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
};

it('replaces what no database keeps, in names, tags, owners, hashes and properties', () => {
  const image = imageSchema.parse({
    ...record,
    name: 'a\0b',
    owner: 'own\ud800er',
    tags: ['t\0'],
    os_hash_value: 'AB\0',
    'hw_\0': 'NUL \0, half \udc00, whole \u{1f600}',
  });
  expect(image).toMatchObject({
    name: 'a\uFFFDb',
    owner: 'own\uFFFDer',
    tags: ['t\uFFFD'],
    hashValue: 'ab\uFFFD',
    properties: { 'hw_\uFFFD': 'NUL \uFFFD, half \uFFFD, whole \u{1f600}' },
  });
});

it('keeps whatever else comes as it is', () => {
  expect(imageSchema.parse({ ...record, name: 'Ünï\ncode\t', os_distro: 'debian' })).toMatchObject({
    name: 'Ünï\ncode\t',
    properties: { os_distro: 'debian' },
  });
});
