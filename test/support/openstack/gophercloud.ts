import { resolve } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { openIdentity } from '../../../activities/keystone/identity';
import { runCommand } from '../../../activities/command';
import { MiB } from '../../../workflows/contract/bytes';
import { buildGoTests } from '../machine/go-tests';
import { createKeystoneOperator } from './keystone-operator';
import type { Outcome, Outcomes } from './tempest';
import type { VolumeCloud } from './volume-cloud';

const acceptance = {
  name: 'gophercloud',
  moduleDirectory: resolve(__dirname, '../../../tools/gophercloud'),
  package: 'github.com/gophercloud/gophercloud/v2/internal/acceptance/openstack/blockstorage/v3',
  tags: 'acceptance',
};
/** They wait more than they compute. Each process has a project of its own, of which its tests expect that nobody else has volumes in it. */
const PROCESSES = 3;
const RUN_TIMEOUT_MS = 600_000;
const LIST_TIMEOUT_MS = 30_000;
const MAX_WHY_CHARACTERS = 1000;
/** As a Cinder has them by default: a test compares what is used with them. */
const QUOTAS = { volumes: 10, snapshots: 10, gigabytes: 1000, backups: 10, backup_gigabytes: 1000 };

/** @returns the names of all acceptance tests of gophercloud for block storage, which are compiled where they are not yet. */
export async function listGophercloudTests(): Promise<string[]> {
  const program = await buildGoTests(acceptance);
  const { stdout } = await runCommand('env', [program, '-test.list', '.'], { timeoutMs: LIST_TIMEOUT_MS });
  return stdout.split('\n').filter(Boolean);
}

/** Runs acceptance tests of gophercloud as an administrator against what the catalogue calls `block-storage`, without Nova. */
export async function runGophercloudTests(cloud: VolumeCloud, tests: readonly string[]): Promise<Outcomes> {
  const program = await buildGoTests(acceptance);
  const parts = Array.from({ length: PROCESSES }, (_, part) => tests.filter((__, index) => index % PROCESSES === part));
  const outcomes = await Promise.all(
    parts.map(async (names, part) => {
      const project = await makeProject(cloud, `gophercloud-${part}`);
      const variables = Object.entries(environmentOf(cloud, project)).map(([name, value]) => `${name}=${value}`);
      const only = ['-test.run', `^(${names.join('|')})$`, '-test.v', '-test.timeout', `${RUN_TIMEOUT_MS}ms`];
      // 1: some have failed, which the output tells.
      const { stdout } = await runCommand('env', [...variables, program, ...only], {
        timeoutMs: RUN_TIMEOUT_MS,
        maxOutputBytes: 64 * MiB,
        answers: [0, 1],
      });
      return [...parseTestOutput(stdout)];
    }),
  );
  return new Map(outcomes.flat());
}

/** Its tests know an administrator by the name `admin`. @returns the project's name. */
async function makeProject(
  { keystoneUrl, region, adminPassword, volumesUrl }: VolumeCloud,
  project: string,
): Promise<string> {
  const account = { user: 'admin', password: adminPassword, project };
  const { projectId } = await createKeystoneOperator(keystoneUrl, adminPassword).ensureAccount({
    ...account,
    roles: ['admin'],
  });
  const identity = openIdentity(
    { authUrl: keystoneUrl, username: account.user, projectName: project, region },
    { OS_PASSWORD: adminPassword },
  );
  try {
    const token = await identity.getToken();
    const answer = await fetch(`${volumesUrl}/v3/${projectId}/os-quota-sets/${projectId}`, {
      method: 'PUT',
      headers: { 'x-auth-token': token.reveal(), 'content-type': 'application/json' },
      body: JSON.stringify({ quota_set: QUOTAS }),
    });
    if (!answer.ok) throw new Error(`the quotas of ${project} were answered with ${answer.status}`);
  } finally {
    await identity.close();
  }
  return project;
}

function environmentOf({ keystoneUrl, region, adminPassword, imageId }: VolumeCloud, project: string) {
  return {
    OS_AUTH_URL: keystoneUrl,
    OS_REGION_NAME: region,
    OS_USERNAME: 'admin',
    OS_PASSWORD: adminPassword,
    OS_PROJECT_NAME: project,
    OS_DOMAIN_ID: 'default',
    OS_BRANCH: 'master',
    OS_IMAGE_ID: imageId,
    // None of them exists; without them no test would be run that asks for the image.
    OS_FLAVOR_ID: '1',
    OS_FLAVOR_ID_RESIZE: '2',
    OS_POOL_NAME: 'none',
    OS_EXTGW_ID: 'none',
  };
}

/** Reads the output of `go test` with `-test.v`: `=== RUN   NAME`, the test's own output, `--- PASS: NAME (1.00s)`. */
function parseTestOutput(text: string): Outcomes {
  const kinds = { PASS: 'ok', SKIP: 'skipped', FAIL: 'failed' } as const;
  const ended = text.matchAll(/^=== RUN {3}(\w+)\n([^]*?)^--- (PASS|SKIP|FAIL): \1 /gm);
  return new Map(
    [...ended].map(([, name = '', printed = '', word = 'FAIL']): [string, Outcome] => {
      const kind = kinds[word as keyof typeof kinds];
      return [name, { kind, why: kind === 'failed' ? failureIn(printed) : '' }];
    }),
  );
}

/** Their assertions tell one line, in colours. */
function failureIn(printed: string): string {
  const plain = stripVTControlCharacters(printed).trim();
  return (/^.*Failure in .*$/m.exec(plain)?.[0] ?? plain.slice(-MAX_WHY_CHARACTERS))
    .trim()
    .slice(0, MAX_WHY_CHARACTERS);
}
