import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listGophercloudTests, runGophercloudTests } from '../support/openstack/gophercloud';
import type { Outcomes } from '../support/openstack/tempest';
import { getVolumeCloud } from '../support/openstack/volume-cloud';

const RUN_TIMEOUT_MS = 1_500_000;

const expected = readExpected(readFileSync(join(__dirname, 'gophercloud.txt'), 'utf8'));
let outcomes: Outcomes;
let known: string[];

beforeAll(async () => {
  known = await listGophercloudTests();
  outcomes = await runGophercloudTests(getVolumeCloud(), known);
}, RUN_TIMEOUT_MS);

it.each([...expected])('gophercloud’s %s is %s', (test, kind) => {
  const outcome = outcomes.get(test) ?? { kind: 'was not run', why: '' };
  // A test that is not expected to fail tells why it has.
  expect(outcome.kind === kind ? kind : `${outcome.kind}: ${outcome.why}`).toBe(kind);
});

it('every one of its tests is on the list', () => {
  expect([...known].toSorted()).toEqual([...expected.keys()].toSorted());
});

/** @param text `NAME ok`, or `NAME failed: WHY`. */
function readExpected(text: string): Map<string, 'ok' | 'failed'> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const [, name, kind] = /^(\w+) (ok|failed: .+)$/.exec(line) ?? [];
      if (name === undefined || kind === undefined) throw new Error(`no expectation: ${line}`);
      return [name, kind === 'ok' ? 'ok' : 'failed'] as const;
    }),
  );
}
