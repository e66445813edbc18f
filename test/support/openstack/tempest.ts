import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { runCommand } from '../../../activities/command';
import { MiB } from '../../../workflows/contract/bytes';
import { installPythonTools } from '../machine/python-tools';
import type { VolumeCloud } from './volume-cloud';

const requirements = resolve(__dirname, '../../../tools/tempest/requirements.txt');
const RUN_TIMEOUT_MS = 1_200_000;
const CONCURRENCY = 2;
const MAX_OUTPUT_CHARACTERS = 4000;
const MAX_WHY_CHARACTERS = 1000;

/** Outcome of each test, by its name; a class that is skipped as a whole is `setUpClass (CLASS)`. */
export type Outcomes = Map<string, Outcome>;
export interface Outcome {
  kind: 'ok' | 'skipped' | 'failed';
  /** Of a failure. */
  why: string;
}

export interface TempestCloud extends VolumeCloud {
  maxMicroversion: string;
}

/** @param text a line for each test: its name, a space, `ok` or `skipped`. */
export function parseExpectations(text: string): Map<string, 'ok' | 'skipped'> {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const [, name = '', kind = ''] = /^(.+) (ok|skipped)$/.exec(line) ?? [];
      if (name === '') throw new Error(`no expectation: ${line}`);
      return [name, kind === 'ok' ? 'ok' : 'skipped'] as const;
    }),
  );
}

/**
 * Runs tests of OpenStack's conformance suite (installed once for this user) against what the catalogue calls `volumev3`, without Nova and Neutron.
 * @param directory is made; `output.txt` in it is what tempest has printed.
 */
export async function runTempest(
  cloud: TempestCloud,
  { directory, tests }: { directory: string; tests: readonly string[] },
): Promise<Outcomes> {
  const packages = await installPythonTools('tempest', requirements);
  await mkdir(directory, { mode: 0o700 });
  const below = (name: string): string => join(directory, name);
  await writeFile(below('tempest.conf'), configOf(cloud, below('lock')), { mode: 0o600 });
  await writeFile(below('tests.txt'), `${tests.map(patternOf).join('\n')}\n`);
  const variables = [`PYTHONPATH=${packages}`, `HOME=${directory}`, 'PYTHONWARNINGS=ignore'];
  const program = ['python3', join(packages, 'bin/tempest'), 'run', '--config-file', below('tempest.conf')];
  const options = ['--concurrency', String(CONCURRENCY), '--include-list', below('tests.txt')];
  // 1: some have failed, which the output tells.
  const { stdout, stderr } = await runCommand('env', ['-C', directory, ...variables, ...program, ...options], {
    timeoutMs: RUN_TIMEOUT_MS,
    maxOutputBytes: 64 * MiB,
    answers: [0, 1],
  });
  await writeFile(below('output.txt'), stdout + stderr);
  const outcomes = parseOutput(stdout);
  if (outcomes.size === 0)
    throw new Error(`tempest has run no test:\n${(stdout + stderr).slice(-MAX_OUTPUT_CHARACTERS)}`);
  return outcomes;
}

/** A pattern of a test's whole name, beside which its list has attributes. */
function patternOf(test: string): string {
  const [, skippedClass] = /^setUpClass \((.+)\)$/.exec(test) ?? [];
  const escaped = (skippedClass ?? test).replaceAll('.', String.raw`\.`);
  return skippedClass === undefined ? `^${escaped}(\\[|$)` : `^${escaped}\\.`;
}

/** Lines such as `{0} tempest.api.volume.Class.test_name [0.5s] ... ok`, each followed by what explains it. */
function parseOutput(text: string): Outcomes {
  const line = /^\{\d+\} (.+?)(?: \[[\d.]+m?s\])? \.\.\. (ok|SKIPPED|FAILED).*$/gm;
  const found = [...text.matchAll(line)];
  return new Map(
    found.map((match, index) => {
      const [whole, name = '', word = ''] = match;
      const end = found[index + 1]?.index ?? text.indexOf('\n======\n', match.index);
      const why = text.slice(match.index + whole.length, end < 0 ? undefined : end);
      return [name, { kind: kindOf(word), why: word === 'FAILED' ? reasonOf(why) : '' }];
    }),
  );
}

/** @returns the error that ends a traceback, without its frames and what follows. */
function reasonOf(captured: string): string {
  const [traceback = ''] = captured.split(/^Captured pythonlogging:$/m);
  const error = traceback.lastIndexOf('\n\n    ') < 0 ? 0 : traceback.search(/^ {4}[\w.]+(?::|$)(?! \(most)/m);
  return traceback.slice(Math.max(error, 0)).trim().slice(0, MAX_WHY_CHARACTERS);
}

function kindOf(word: string): Outcome['kind'] {
  if (word === 'FAILED') return 'failed';
  return word === 'ok' ? 'ok' : 'skipped';
}

function configOf({ keystoneUrl, admin, region, imageId, maxMicroversion }: TempestCloud, lockPath: string): string {
  return `[DEFAULT]
log_file = tempest.log
[oslo_concurrency]
lock_path = ${lockPath}
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = ${admin.user}
admin_password = ${admin.password}
admin_project_name = ${admin.project}
admin_domain_name = Default
[identity]
auth_version = v3
uri_v3 = ${keystoneUrl}
region = ${region}
v3_endpoint_type = public
[service_available]
cinder = true
glance = true
nova = false
neutron = false
swift = false
horizon = false
[image]
region = ${region}
[compute]
image_ref = ${imageId}
image_ref_alt = ${imageId}
[volume]
region = ${region}
catalog_type = volumev3
endpoint_type = public
storage_protocol = file
vendor_name = Open Source
volume_size = 1
build_timeout = 120
build_interval = 1
min_microversion = 3.0
max_microversion = ${maxMicroversion}
[volume-feature-enabled]
backup = false
snapshot = true
clone = true
multi_backend = false
manage_volume = false
manage_snapshot = false
extend_attached_volume = false
consistency_group = false
volume_revert = false
enable_volume_image_dep_tests = true
`;
}
