import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { runCommand } from '../../../activities/command';
import { MiB } from '../../../workflows/contract/bytes';
import { installPythonTools } from '../machine/python-tools';
import type { VolumeCloud } from './volume-cloud';

const requirements = resolve(__dirname, '../../../tools/openstack-client/requirements.txt');
const RUN_TIMEOUT_MS = 600_000;
/** Of one test: as on a machine that does other things too. */
const TEST_TIMEOUT_S = 200;
const TESTS = 'openstack.tests.functional.block_storage.v3';
/** Names that its tests have for the clouds of its users: here all of them are the one administrator. */
const CLOUDS = ['devstack', 'devstack-alt', 'devstack-admin', 'devstack-system-admin'];

/**
 * Runs functional tests of openstacksdk, as its package on PyPI has them, against what the catalogue calls `block-storage`.
 * @param directory is made; `output.txt` in it is what they have printed.
 * @param tests such as `test_volume.TestVolume.test_volume`. @returns those that failed, and how many were skipped.
 */
export async function runOpenstackSdkTests(
  cloud: VolumeCloud,
  { directory, tests }: { directory: string; tests: readonly string[] },
): Promise<{ failed: string[]; run: number; skipped: number }> {
  const packages = await installPythonTools('openstack-client', requirements);
  await mkdir(directory, { mode: 0o700 });
  const configPath = join(directory, 'clouds.yaml');
  await writeFile(configPath, stringify(configOf(cloud)), { mode: 0o600 });
  const variables = [
    `PYTHONPATH=${packages}`,
    'PYTHONWARNINGS=ignore',
    `OS_CLIENT_CONFIG_FILE=${configPath}`,
    `OS_TEST_TIMEOUT=${TEST_TIMEOUT_S}`,
  ];
  const program = ['python3', '-m', 'unittest', ...tests.map((test) => `${TESTS}.${test}`)];
  // 1: some have failed, which the output tells.
  const { stdout, stderr } = await runCommand('env', ['-C', directory, ...variables, ...program], {
    timeoutMs: RUN_TIMEOUT_MS,
    maxOutputBytes: 16 * MiB,
    answers: [0, 1],
  });
  const output = stdout + stderr;
  await writeFile(join(directory, 'output.txt'), output);
  const [, run] = /^Ran (\d+) tests? in /m.exec(output) ?? [];
  if (run === undefined) throw new Error(`the tests of openstacksdk did not run:\n${output.slice(-4000)}`);
  const failed = [...output.matchAll(/^(?:FAIL|ERROR): \w+ \((.+)\)$/gm)].map(([, name = '']) => name);
  return {
    failed: failed.map((name) => name.replace(`${TESTS}.`, '')),
    run: Number(run),
    skipped: Number(/skipped=(\d+)/.exec(output)?.[1] ?? 0),
  };
}

function configOf({ keystoneUrl, region, admin }: VolumeCloud): object {
  const { user: username, password, project } = admin;
  const domains = { user_domain_id: 'default', project_domain_id: 'default' };
  const auth = { auth_url: keystoneUrl, username, password, project_name: project, ...domains };
  const clouds = Object.fromEntries(CLOUDS.map((name) => [name, { region_name: region, auth }]));
  // Without this name its tests look for an image of a distribution.
  return { clouds, functional: { image_name: 'tempest' } };
}
