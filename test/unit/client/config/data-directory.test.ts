import { homedir } from 'node:os';
import { join } from 'node:path';
import { chooseDataDirectory, userCacheDirectory } from '../../../../client/config/data-directory';

const root = process.getuid?.() === 0;
const stateDirectory = (xdg: string) => (root ? '/var/lib/image-volume-cache' : join(xdg, 'image-volume-cache'));

test('the option goes before IVC_DATA, and IVC_DATA before the default', () => {
  expect(chooseDataDirectory('/a', { IVC_DATA: '/b' })).toBe('/a');
  expect(chooseDataDirectory(undefined, { IVC_DATA: '/b' })).toBe('/b');
});

test('the default is XDG state, and /var/lib as root', () => {
  expect(chooseDataDirectory(undefined, { XDG_STATE_HOME: '/state' })).toBe(stateDirectory('/state'));
  expect(chooseDataDirectory(undefined, {})).toBe(stateDirectory(join(homedir(), '.local/state')));
});

test('a leading ~ is the home directory, and a relative path is made absolute', () => {
  expect(chooseDataDirectory('~/x', {})).toBe(join(homedir(), 'x'));
  expect(chooseDataDirectory('x', {})).toBe(join(process.cwd(), 'x'));
});

test('a relative XDG directory is ignored, as its specification says', () => {
  expect(userCacheDirectory({ XDG_CACHE_HOME: 'x' })).toBe(join(homedir(), '.cache/image-volume-cache'));
  expect(userCacheDirectory({ XDG_CACHE_HOME: '/cache' })).toBe('/cache/image-volume-cache');
});
