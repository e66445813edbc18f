import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { versionText, MOST_MINOR } from '../../api/microversion';
import { createGlanceClient } from '../../activities/glance/client';
import { openIdentity } from '../../activities/keystone/identity';
import { MiB } from '../../workflows/contract/bytes';
import { newSecret, startRealCloud, type RealCloud } from '../support/openstack/cloud';
import { parseExpectations, runTempest, type Outcome, type Outcomes } from '../support/openstack/tempest';
import { startApi } from '../support/stack/api';
import { startStack } from '../support/stack/stack';
import { createUndos } from '../support/machine/undos';

const RUN_TIMEOUT_MS = 1_500_000;
const IMAGE_BYTES = 16 * MiB;
const list = (name: string): string => readFileSync(join(__dirname, name), 'utf8');

/** What real Cinder answers to each of them. */
const expected = parseExpectations(list('core.txt'));
/** Those that fail here so far: nothing else may, and what passes leaves the list. */
const notYet = new Set(list('not-yet.txt').split('\n').filter(Boolean));

const classes = [...new Set([...expected.keys()].map(classOf))];
const { after, run } = createUndos();
let outcomes: Outcomes;

beforeAll(async () => {
  const cloud = await startRealCloud({ tokenSeconds: 3600 });
  after(() => cloud.stop());
  const admin = { user: 'tempest', password: newSecret(), project: 'tempest' };
  await cloud.keystone.operator.ensureAccount({ ...admin, roles: ['admin'] });
  await serveVolumes(cloud);
  outcomes = await runTempest(
    {
      keystoneUrl: cloud.keystone.url,
      admin,
      region: 'RegionOne',
      imageId: await uploadPublicImage(cloud, admin),
      maxMicroversion: versionText(MOST_MINOR),
    },
    { directory: join(cloud.directory, 'tempest'), tests: [...expected.keys()] },
  );
}, RUN_TIMEOUT_MS);
afterAll(run);

it.each(classes)('%s answers as on Cinder', (name) => {
  const tests = [...expected.keys()].filter((test) => classOf(test) === name);
  expect(Object.fromEntries(tests.map((test) => [test, shown(test)]))).toEqual(
    Object.fromEntries(tests.map((test) => [test, notYet.has(test) ? 'failed' : expected.get(test)])),
  );
});

it('nothing is left on the list of what fails that no list expects', () => {
  expect([...notYet].filter((test) => !expected.has(test))).toEqual([]);
});

/** Our API and one worker on files, with the account that docs/api.md describes, in the catalogue. */
async function serveVolumes(cloud: RealCloud): Promise<void> {
  const { operator } = cloud.keystone;
  const { password } = cloud.account;
  await operator.ensureAccount({ user: 'ivc', password, project: 'ivc', roles: ['service', 'image_volume_cache'] });
  const stack = await startStack({
    config: { identity: { cloud: 'ivc' }, images: { service: 'catalogue' } },
    environment: cloud.environment,
    imagesEndpoint: cloud.glance.endpoint,
  });
  after(() => stack.stop());
  const api = await startApi(stack, { auth: 'keystone' });
  after(() => api.stop());
  for (const type of ['volumev3', 'block-storage'])
    await operator.addEndpoints({ type, region: 'RegionOne', url: `${api.url}/v3/$(project_id)s` });
}

async function uploadPublicImage(
  cloud: RealCloud,
  { user, password, project }: { user: string; password: string; project: string },
): Promise<string> {
  const identity = openIdentity(
    { authUrl: cloud.keystone.url, username: user, projectName: project },
    { OS_PASSWORD: password },
  );
  const images = createGlanceClient({ endpoint: cloud.glance.endpoint, getToken: identity.getToken });
  const bytes = Buffer.concat([randomBytes(MiB), Buffer.alloc(IMAGE_BYTES - MiB)]);
  try {
    const { id } = await images.createImage({
      name: 'tempest',
      diskFormat: 'raw',
      containerFormat: 'bare',
      visibility: 'public',
    });
    await images.uploadImage({ imageId: id, body: Readable.from([bytes]), sizeBytes: bytes.length });
    return id;
  } finally {
    await Promise.all([images.close(), identity.close()]);
  }
}

/** @returns the class of a test, such as `tempest.api.volume.test_versions.VersionsTest`. */
function classOf(test: string): string {
  return /^setUpClass \((.+)\)$/.exec(test)?.[1] ?? test.replace(/\.[^.]+$/, '');
}

/** A class that cannot be set up fails as a whole. */
function outcomeOf(test: string): Outcome | undefined {
  return outcomes.get(test) ?? outcomes.get(`setUpClass (${classOf(test)})`);
}

/** What is not expected to fail tells why it has. */
function shown(test: string): string {
  const outcome = outcomeOf(test);
  if (outcome === undefined) return 'was not run';
  return outcome.kind === 'failed' && !notYet.has(test) ? `failed: ${outcome.why}` : outcome.kind;
}
