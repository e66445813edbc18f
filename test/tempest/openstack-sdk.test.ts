import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createUndos } from '../support/machine/undos';
import { runOpenstackSdkTests } from '../support/openstack/openstack-sdk';
import { getVolumeCloud } from '../support/openstack/volume-cloud';

const RUN_TIMEOUT_MS = 700_000;

/** Those that Cinder passes without Nova and the backup service; of groups, and of attachments to a server, there is nothing here. */
const tests = [
  'test_availability_zone.TestAvailabilityZone.test_list',
  'test_block_storage_summary.TestBlockStorageSummary.test_get',
  'test_capabilities.TestCapabilities.test_get',
  'test_extension.Extensions.test_get',
  'test_limits.TestLimits.test_get',
  'test_quota_set.TestQuotaSet.test_quota_set',
  'test_resource_filters.ResourceFilters.test_get',
  'test_service.TestService.test_disable_enable',
  'test_service.TestService.test_find',
  'test_service.TestService.test_list',
  'test_snapshot.TestSnapshot.test_get',
  'test_transfer.TestTransfer.test_transfer',
  'test_type.TestType.test_get',
  'test_volume.TestVolume.test_volume',
];

const { after, run } = createUndos();
let failed: string[] = [];
let output = '';

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ivc-sdk-'));
  after(() => rm(directory, { recursive: true, force: true }));
  const below = join(directory, 'sdk');
  const result = await runOpenstackSdkTests(getVolumeCloud(), { directory: below, tests });
  const { run: ran, skipped } = result;
  if (ran !== tests.length || skipped > 0) throw new Error(`${ran} of ${tests.length} tests ran, ${skipped} skipped`);
  ({ failed } = result);
  output = await readFile(join(below, 'output.txt'), 'utf8');
}, RUN_TIMEOUT_MS);
afterAll(run);

it.each(tests)('openstacksdk’s %s passes', (test) => {
  // The output tells why.
  expect(failed.includes(test) ? output : '').toBe('');
});
