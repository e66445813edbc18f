import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { dataConverter } from '../../worker/bundle';

const directory = join(__dirname, 'histories');
const names = readdirSync(directory).map((file) => file.replace(/\.json$/, ''));
const logger = new DefaultLogger('ERROR');

let code: string;

beforeAll(async () => {
  // Core tells of every violation on its own; the tests that expect one say so.
  Runtime.install({
    logger,
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
  });
  const { payloadConverterPath } = dataConverter;
  ({ code } = await bundleWorkflowCode({
    workflowsPath: require.resolve('../../workflows'),
    payloadConverterPath,
    logger,
  }));
});

/** As JSON: the SDK reads it with its own converter of histories. */
function readHistory(name: string): string {
  return readFileSync(join(directory, `${name}.json`), 'utf8');
}

async function replay(history: string): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: { code }, dataConverter }, JSON.parse(history));
}

describe('the workflows of this version', () => {
  it('have a recorded run of every kind', () => {
    expect(names).toEqual(
      expect.arrayContaining([
        'hit',
        'bulk',
        'bulk-cold',
        'bulk-partly',
        'bulk-cancelled',
        'miss',
        'joined',
        'bypass',
        'refused',
        'failed',
        'cancelled',
        'delete',
        'evict',
        'evict-continued',
        'populate',
        'populate-unpacked',
        'populate-streamed',
        'populate-converted',
        'populate-failed',
        'warm',
        'refresh',
        'refresh-missing',
        'follow',
        'follow-flipped',
        'unfollow',
        'reconcile',
        'reconcile-adopt',
      ]),
    );
  });

  it.each(names)('replay the recorded run "%s"', async (name) => {
    await expect(replay(readHistory(name))).resolves.toBeUndefined();
  });

  it.each([
    ['miss', 'pickHost', 'awaitVerdict'],
    ['populate', 'downloadToScratch', 'writeImageVolume'],
    ['delete', 'removeVolume', 'deleteVolume'],
    ['hit', 'DeleteVolume', 'CreateVolumeFromImage'],
    ['refresh', 'matchFollow', 'refreshImages'],
    ['refresh-missing', 'matchFollow', 'settleMissing'],
    ['follow-flipped', 'retireSuperseded', 'flipFollow'],
  ])('refuse the run "%s" when it says %s in place of %s', async (name, doctored, recorded) => {
    const history = readHistory(name);
    expect(history).toContain(`"name":"${recorded}"`);
    await expect(replay(history.replaceAll(`"name":"${recorded}"`, `"name":"${doctored}"`))).rejects.toThrow(
      DeterminismViolationError,
    );
  });
});
