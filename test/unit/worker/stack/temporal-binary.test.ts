import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTemporalBinary, type TemporalBinaryOptions } from '../../../../worker/stack/temporal-binary';

let directory: string;
let options: TemporalBinaryOptions;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-binary-'));
  for (const name of ['bin', 'module', 'download', 'cache']) mkdirSync(join(directory, name));
  writeFileSync(
    join(directory, 'module', 'go.mod'),
    'module x\n\ngo 1.26.4\n\nrequire github.com/temporalio/cli v1.8.2\n',
  );
  options = {
    env: { PATH: `${join(directory, 'bin')}:/usr/bin:/bin`, XDG_CACHE_HOME: join(directory, 'cache') },
    moduleDirectory: join(directory, 'module'),
    downloadDirectory: join(directory, 'download'),
  };
});
afterEach(() => rmSync(directory, { recursive: true }));

function script(path: string, body: string): string {
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

function temporal(path: string, version: string): string {
  return script(path, `echo 'temporal version ${version}'`);
}

/** A compiler that notes each build and writes what it is told to. */
function fakeGo(version = 'go1.26.8'): void {
  script(
    join(directory, 'bin', 'go'),
    [
      `if [ "$1" = env ]; then echo ${version}; exit; fi`,
      `echo built >> ${directory}/builds`,
      'echo some/package >&2',
      'while [ "$1" != -o ]; do shift; done',
      'sleep 0.2; echo binary > "$2"; chmod 755 "$2"',
    ].join('\n'),
  );
}

const builds = () =>
  existsSync(join(directory, 'builds')) ? readFileSync(join(directory, 'builds'), 'utf8').split('\n').length - 1 : 0;
const sdkDownload = () => join(directory, 'download', `temporal-sdk-typescript-${sdkVersion()}`);
const sdkVersion = (): string =>
  JSON.parse(readFileSync(require.resolve('@temporalio/client/package.json'), 'utf8')).version;

test.each([
  '1.8.2 (Server 1.31.2, UI 2.50.1)',
  '1.10.0 (Server 1.40.0, UI 2.60.0)',
  '0.0.0-DEV (Server 1.31.2, UI 2.50.1)',
])('temporal on PATH is used when it says %s', async (version) => {
  const path = temporal(join(directory, 'bin', 'temporal'), version);
  expect(await ensureTemporalBinary(options)).toEqual({ path, source: 'path' });
});

test.each(['1.8.1 (Server 1.31.2, UI 2.50.1)', '0.0.0-DEV (Server 1.30.9, UI 2.40.0)', 'what?'])(
  'temporal on PATH is passed over when it says %s',
  async (version) => {
    temporal(join(directory, 'bin', 'temporal'), version);
    fakeGo();
    expect((await ensureTemporalBinary(options)).source).toBe('built');
  },
);

test('the download of the SDK is used when there is one', async () => {
  const path = temporal(sdkDownload(), '1.8.2 (Server 1.31.2, UI 2.50.1)');
  expect(await ensureTemporalBinary(options)).toEqual({ path, source: 'sdk-download' });
});

test('a download that others may write is not run', async () => {
  chmodSync(temporal(sdkDownload(), '1.8.2 (Server 1.31.2, UI 2.50.1)'), 0o777);
  fakeGo();
  expect((await ensureTemporalBinary(options)).source).toBe('built');
});

test('two that build at once build once, and a third finds it', async () => {
  fakeGo();
  const [first, second] = await Promise.all([ensureTemporalBinary(options), ensureTemporalBinary(options)]);
  expect(first).toEqual(second);
  expect(await ensureTemporalBinary(options)).toEqual(first);
  expect(builds()).toBe(1);
  expect(readdirSync(join(directory, 'cache', 'image-volume-cache'))).toEqual([
    expect.stringMatching(/^temporal-1\.8\.2-[0-9a-f]{12}$/),
  ]);
});

test('another go.mod is built apart', async () => {
  fakeGo();
  const first = await ensureTemporalBinary(options);
  writeFileSync(
    join(directory, 'module', 'go.mod'),
    'module x\n\ngo 1.26.4\n\nrequire github.com/temporalio/cli v1.9.0\n',
  );
  expect((await ensureTemporalBinary(options)).path).not.toBe(first.path);
  expect(builds()).toBe(2);
});

test('a failed build names what the compiler said and leaves nothing behind', async () => {
  fakeGo();
  script(join(directory, 'bin', 'go'), 'if [ "$1" = env ]; then echo go1.26.8; exit; fi\necho broken >&2; exit 1');
  await expect(ensureTemporalBinary(options)).rejects.toThrow(/exit code 1.*broken/);
  expect(readdirSync(join(directory, 'cache', 'image-volume-cache'))).toEqual([]);
});

test.each([
  ['missing', () => undefined, 'PATH'],
  ['too old', () => fakeGo('go1.20.1'), '1.20.1'],
])('a Go that is %s is one line that says what to install', async (_, prepare, found) => {
  prepare();
  const env = { ...options.env, PATH: join(directory, 'bin') };
  const failure = ensureTemporalBinary({ ...options, env });
  await expect(failure).rejects.toThrow(new RegExp(`Go 1\\.26\\.4.*${found}.*go\\.dev.*TEMPORAL_ADDRESS`));
});

test('a build that is no longer wanted is ended', async () => {
  script(
    join(directory, 'bin', 'go'),
    `if [ "$1" = env ]; then echo go1.26.8; exit; fi\necho begun >> ${directory}/builds; exec sleep 60`,
  );
  const stop = new AbortController();
  const building = ensureTemporalBinary({ ...options, signal: stop.signal });
  while (builds() === 0) await new Promise(setImmediate);
  stop.abort(new Error('stopped'));
  await expect(building).rejects.toThrow('stopped');
});
