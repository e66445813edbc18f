/** Builds `dist/`: the compiled TypeScript, the migrations and the workflow bundle. Does nothing when nothing changed. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { isMain, main, root } from './lib/run.mjs';
import { step } from './lib/step.mjs';
import { setup } from './setup.mjs';

const dist = join(root, 'dist');
/** Of the code that runs, and of the bench; jest compiles the tests. */
const buildConfigPath = join(root, 'tsconfig.build.json');
const bundles = ['workflow-bundle.js', 'workflow-bundle-traced.js'].map((file) => join(dist, file));
const stampPath = join(dist, '.build-stamp.json');

export async function build() {
  await setup();
  const sources = fingerprintSources();
  const built = readStamp();
  if (built.sources === sources.fingerprint) return;
  removeOrphans(built.files ?? [], sources.files);
  await step('TypeScript', ({ run }) =>
    run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', buildConfigPath]),
  );
  copyMigrations();
  makeExecutable(join(dist, 'client/cli/main.js'));
  const workflows = fingerprintWorkflows();
  if (built.workflows !== workflows || !bundles.every(existsSync)) await bundleWorkflows();
  writeFileSync(stampPath, JSON.stringify({ sources: sources.fingerprint, workflows, files: sources.files }));
}

function fingerprintSources() {
  const { include } = JSON.parse(readFileSync(buildConfigPath, 'utf8'));
  const files = include.flatMap((directory) => listFiles(join(root, directory))).map((path) => relative(root, path));
  const all = [
    ...files,
    'tsconfig.json',
    'tsconfig.build.json',
    'package-lock.json',
    'node_modules/.package-lock.json',
  ];
  const lines = all.map((file) => `${file} ${statSync(join(root, file)).size} ${statSync(join(root, file)).mtimeMs}`);
  return { files, fingerprint: hash(lines.join('\n')) };
}

/** The bundle takes seconds, so it is made again only when the workflows' compiled code or the packages changed. */
function fingerprintWorkflows() {
  const compiled = listFiles(join(dist, 'workflows')).filter((path) => path.endsWith('.js'));
  const bundler = ['bundle.js', 'payload-converter.js', 'workflow-tracing.js']
    .map((file) => join(dist, 'worker', file))
    .filter((path) => existsSync(path));
  return hash(
    [...compiled, ...bundler, join(root, 'package-lock.json')].map((path) => hash(readFileSync(path))).join('\n'),
  );
}

async function bundleWorkflows() {
  const bundler = join(dist, 'worker/bundle.js');
  if (!existsSync(bundler)) return;
  await step('workflow bundle', ({ run }) => run(process.execPath, [bundler]));
}

function copyMigrations() {
  const from = join(root, 'db/migrations');
  if (existsSync(from)) cpSync(from, join(dist, 'db/migrations'), { recursive: true });
}

/** Output of a source that is gone would still be found by its name. */
function removeOrphans(before, now) {
  const gone = before.filter((file) => file.endsWith('.ts') && !now.includes(file));
  for (const file of gone)
    for (const ending of ['.js', '.js.map', '.d.ts'])
      rmSync(join(dist, file.replace(/\.ts$/, ending)), { force: true });
  if (!existsSync(dist)) mkdirSync(dist);
}

function makeExecutable(path) {
  if (existsSync(path)) chmodSync(path, 0o755);
}

function listFiles(directory) {
  if (!existsSync(directory)) return [];
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function readStamp() {
  return existsSync(stampPath) ? JSON.parse(readFileSync(stampPath, 'utf8')) : {};
}

function hash(data) {
  return createHash('sha256').update(data).digest('hex');
}

if (isMain(import.meta.url)) await main(build);
