import { execFile } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { useStack } from '../support/stack/flows';
import { installPackage } from '../support/stack/installed-package';

const run = promisify(execFile);
let directory: string;

/** Workers and commands of an installed copy, which knows nothing of this checkout. */
const flow = useStack(async ({ after }) => {
  const installed = await installPackage();
  after(() => installed.remove());
  ({ directory } = installed);
  return { packageDirectory: directory };
});

const ivc = async (...args: string[]): Promise<string> => {
  const program = join(directory, '../.bin/ivc');
  return (await run(program, args, { env: flow.stack.environment, cwd: flow.directory })).stdout;
};

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith('node_modules/'));
}

it('holds what runs, its types and its documentation, and nothing else', () => {
  const allowed = [
    /^(?:LICENSE|README\.md|package\.json|temporal\.yaml)$/,
    /^dist\/(?:activities|api|client|db|lib|worker|workflows)\/.+\.js$/,
    /^dist\/workflow-bundle(?:-traced)?\.js$/,
    /^dist\/(?:client|db|lib|workflows\/contract|activities\/(?:glance|keystone)|activities)\/.+\.d\.ts$/,
    /^dist\/db\/migrations\/(?:\d{4}_[\w-]+\.sql|meta\/_journal\.json)$/,
    /^docs\/.+\.(?:md|json|ya?ml|diff|patch)$/,
    /^docs\/glance\//,
    /^deploy\//,
    /^tools\/temporal\/go\.(?:mod|sum)$/,
  ];
  const files = filesOf(directory);
  expect(files.filter((file) => !allowed.some((pattern) => pattern.test(file)))).toEqual([]);
  expect(files).toEqual(expect.arrayContaining(['dist/workflow-bundle.js', 'dist/client/index.d.ts']));
  expect(files.length).toBeLessThan(1200);
  const bytes = files.reduce((sum, file) => sum + statSync(join(directory, file)).size, 0);
  expect(bytes).toBeLessThan(8 * 1024 ** 2);
});

it('creates a volume by its own worker and command', async () => {
  const { image } = await flow.upload('installed');
  const created = JSON.parse(await ivc('volume', 'create', '--image', image.id, '--json')) as Record<string, unknown>;
  expect(created).toMatchObject({ outcome: 'miss', connection: { driver: 'file' } });
  expect(await ivc('volume', 'list')).toContain(String(created['volumeId']).slice(0, 8));
});

describe('the library', () => {
  const use = `
const work = async (imageId: string): Promise<string> => {
  const cache = await connectClient({ address: 'localhost:7233', dataDirectory: '/nonexistent' });
  const { volumeId, outcome } = await createVolume(cache, { imageId });
  // @ts-expect-error -- an outcome is one of some words.
  if (outcome === 'perhaps') return '';
  return volumeId;
};
console.log(typeof work, typeof createVolume, new ImageVolumeCacheError({ type: 'EntryNotFound', message: 'x' }).type);
`;
  const names = '{ connectClient, createVolume, ImageVolumeCacheError }';

  it.each([
    ['import', 'use.mts', `import ${names} from 'image-volume-cache';`],
    ['require', 'use.cts', `import library = require('image-volume-cache');\nconst ${names} = library;`],
  ])('has its types and its functions by %s', async (_, file, head) => {
    const project = dirname(dirname(directory));
    writeFileSync(join(project, file), head + use);
    const tsc = resolve(__dirname, '../../node_modules/typescript/bin/tsc');
    const strict = [
      '--strict',
      '--module',
      'node16',
      '--target',
      'es2023',
      '--skipLibCheck',
      '--typeRoots',
      resolve(__dirname, '../../node_modules/@types'),
    ];
    const compiled = await run(process.execPath, [tsc, ...strict, '--types', 'node', file], { cwd: project }).catch(
      (error: { stdout: string }) => error,
    );
    expect(compiled.stdout).toBe('');
    const { stdout } = await run(process.execPath, [file.replace('ts', 'js')], { cwd: project });
    expect(stdout).toBe('function function EntryNotFound\n');
  });
});
