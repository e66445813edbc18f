import { inTypedWords } from '../../../../client/cli/typed-words';
import { failureError } from '../../../../client/errors';

const refuse = (field: string, allowed: string) => failureError('InvalidRequest', { field, value: '1048576', allowed });

it.each([
  [
    ['--size', '1MiB'],
    'at least 40894464, the image’s virtual size',
    '--size 1MiB is less than the image’s virtual size: 39 MiB',
  ],
  [['--size=1MiB'], 'at least 1000, its source', '--size 1MiB is less than its source: 1000 B'],
  [
    ['--size-bytes', '512'],
    'a multiple of 512 from 1073741824 to 40894976',
    '--size-bytes 512: allowed is a multiple of 512 from 1 GiB to 39.0 MiB (40894976 bytes)',
  ],
])('tells of %j in its own units: %s', (argv, allowed, message) => {
  expect(inTypedWords(refuse('sizeBytes', allowed), argv)).toBe(message);
});

it('names the option in place of the field, and leaves alone what was not typed', () => {
  const error = failureError('InvalidRequest', { field: 'imageId', value: '"x"', allowed: 'a UUID' });
  expect(inTypedWords(error, ['--image', 'x'])).toBe('--image: got "x", allowed is a UUID');
  expect(inTypedWords(error, [])).toBe(error.message);
  expect(inTypedWords(failureError('VolumeNotFound', { volumeId: 'v' }), ['--image'])).toContain('volumeId');
});
