import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findTool } from '../../../activities/command';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, resultOf, type World } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';

const PATH = process.env['PATH'] ?? '';
/** As many attempts as a tool may fail in. */
const LOST_ATTEMPTS = 3;

let stack: EveryStepStack;
beforeAll(async () => {
  stack = await startEveryStepStack();
});
afterAll(() => stack.stop());
afterEach(() => {
  process.env['PATH'] = PATH;
});

/** Puts a qemu-img first on PATH that fails so often before it is the real one. It runs as a user of its own, which may write into its directory. */
async function failQemuImg(times: number): Promise<{ failures: () => Promise<number> }> {
  const directory = join(stack.samplesDirectory, `tools-${times}`);
  await mkdir(directory);
  const [fake, log, real] = [join(directory, 'qemu-img'), join(directory, 'log'), findTool('qemu-img') ?? ''];
  const count = `$(wc -l < '${log}')`;
  const script = `#!/bin/sh\nif [ "${count}" -lt ${times} ]; then echo failed >> '${log}'; exit 1; fi\nexec '${real}' "$@"\n`;
  await writeFile(log, '');
  await chmod(log, 0o666);
  await writeFile(fake, script);
  await chmod(fake, 0o755);
  for (let path = directory; path !== tmpdir() && path !== '/'; path = join(path, '..')) await chmod(path, 0o755);
  process.env['PATH'] = `${directory}${delimiter}${PATH}`;
  return { failures: async () => (await readFile(log, 'utf8')).split('\n').length - 1 };
}

async function conversionOf(world: World) {
  const { raw } = await stack.client.workflow.getHandle(world.flightId).describe();
  return raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'writeImageVolume');
}

/** Attempts that end without a word of the tool's. */
async function loseAttempts(world: World): Promise<void> {
  const release = stack.faults.hold(world.flightId, 'writeImageVolume');
  await until(`${LOST_ATTEMPTS} attempts to be lost`, async () => {
    const conversion = await conversionOf(world).catch(() => undefined);
    return (conversion?.attempt ?? 0) > LOST_ATTEMPTS;
  });
  release();
}

describe('a conversion', () => {
  it('that fails for the first time after lost attempts is tried again', async () => {
    const world = await createWorld(stack, 'qcow2 with subclusters');
    const { failures } = await failQemuImg(1);
    const create = world.create();
    await loseAttempts(world);
    const ending = await create;
    expect(ending).toMatchObject({ kind: 'done', result: { outcome: 'miss' } });
    expect(await failures()).toBe(1);
    expect(await world.hasGuestBytes(resultOf(ending))).toBe(true);
    await assertCleanSlate(world);
  });

  it('whose tool fails three times fails for good, though attempts were lost before', async () => {
    const world = await createWorld(stack, 'qcow2 with subclusters');
    const { failures } = await failQemuImg(100);
    const create = world.create();
    await loseAttempts(world);
    expect(await create).toMatchObject({ kind: 'failed', type: 'ToolFailed' });
    expect(await failures()).toBe(3);
    process.env['PATH'] = PATH;
    await assertCleanSlate(world);
  });
});
