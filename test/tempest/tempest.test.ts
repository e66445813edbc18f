import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MOST_MINOR, versionText } from '../../api/microversion';
import { createUndos } from '../support/machine/undos';
import { parseExpectations, runTempest, type Outcome, type Outcomes } from '../support/openstack/tempest';
import { getVolumeCloud } from '../support/openstack/volume-cloud';

const RUN_TIMEOUT_MS = 1_500_000;
const list = (name: string): string => readFileSync(join(__dirname, name), 'utf8');

/** Answers of real Cinder to each of them: of tempest's core, of the plugin that Cinder's people add, and of all else that tempest has of volumes. */
const [core, plugin, rest] = ['core.txt', 'plugin.txt', 'rest.txt'].map((name) => parseExpectations(list(name)));
const isWhole = process.env['IVC_TEST_TEMPEST'] === 'whole';
const expected = new Map([...(core ?? []), ...(plugin ?? []), ...(isWhole ? (rest ?? []) : [])]);
/** Those that fail here so far, each with the reason: nothing else may, and what passes leaves the list. */
const notYet = new Set(
  list('not-yet.txt')
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [, name, why] = /^(.+?): (.+)$/.exec(line) ?? [];
      if (name === undefined || why === undefined) throw new Error(`no reason: ${line}`);
      return name;
    }),
);

const classes = [...new Set([...expected.keys()].map(classOf))];
const { after, run } = createUndos();
let outcomes: Outcomes;

beforeAll(async () => {
  const cloud = getVolumeCloud();
  const directory = await mkdtemp(join(tmpdir(), 'ivc-tempest-'));
  after(() => rm(directory, { recursive: true, force: true }));
  outcomes = await runTempest(
    { ...cloud, maxMicroversion: versionText(MOST_MINOR) },
    { directory: join(directory, 'tempest'), tests: [...expected.keys()] },
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
  expect([...notYet].filter((test) => !expected.has(test) && rest?.has(test) !== true)).toEqual([]);
});

/** @returns the class of a test, such as `tempest.api.volume.test_versions.VersionsTest`. */
function classOf(test: string): string {
  return /^setUpClass \((.+)\)$/.exec(test)?.[1] ?? test.replace(/\.[^.]+$/, '');
}

/** A class that cannot be set up fails as a whole. */
function outcomeOf(test: string): Outcome | undefined {
  return outcomes.get(test) ?? outcomes.get(`setUpClass (${classOf(test)})`);
}

/** A test that is not expected to fail tells why it has. */
function shown(test: string): string {
  const outcome = outcomeOf(test);
  if (outcome === undefined) return 'was not run';
  return outcome.kind === 'failed' && !notYet.has(test) ? `failed: ${outcome.why}` : outcome.kind;
}
