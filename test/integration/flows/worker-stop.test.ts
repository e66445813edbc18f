import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../../workflows/contract/bytes';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import type { TestWorker } from '../../support/stack/stack';

const GRACE_MS = 1000;
const STALL_AFTER_BYTES = 12 * MiB;
const CHUNK_BYTES = 4 * MiB;
const HERD = 8;

const flow = useStack({ config: { worker: { shutdownGrace: `${GRACE_MS}ms` } } });

function bytesInScratch(): number {
  const directory = join(flow.stack.scratchDirectory, 'images');
  if (!existsSync(directory)) return 0;
  return readdirSync(directory).reduce((total, name) => total + statSync(join(directory, name)).size, 0);
}

function logOf(worker: TestWorker | undefined): string {
  return worker === undefined ? '' : readFileSync(worker.logPath, 'utf8');
}

describe('a worker that is told to stop', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('in the middle of a download ends by itself with 0, before its last resort ends it with 1, however often it is told; the next one goes on from the bytes on disk', async () => {
    const { sample, image } = await flow.upload('stopped', { virtualBytes: 64 * MiB });
    await flow.stack.imageService.inject({ kind: 'stall', imageId: image.id, afterBytes: STALL_AFTER_BYTES });
    const running = await Promise.all(Array.from({ length: HERD }, () => flow.start(image)));
    await flow.until(
      'most of the bytes to be on disk',
      async () => bytesInScratch() >= STALL_AFTER_BYTES - CHUNK_BYTES,
    );

    const worker = flow.stack.workers.at(-1);
    const stopped = worker?.stop('SIGTERM');
    await flow.until('the stop to be begun', async () =>
      logOf(worker).includes('the worker stops: it accepts no new work'),
    );
    // As a terminal's Ctrl-C and its supervisor do at once.
    for (const again of ['SIGINT', 'SIGTERM', 'SIGTERM'] as const) worker?.process.kill(again);
    expect(await stopped).toBe(0);
    expect(logOf(worker)).toContain('the worker is stopping already');
    expect(bytesInScratch()).toBeGreaterThanOrEqual(STALL_AFTER_BYTES - CHUNK_BYTES);

    await flow.stack.startWorker();
    const volumes = await Promise.all(running.map(({ result }) => result()));
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    const { bytesServed } = await flow.stack.imageService.counters(image.id);
    expect(bytesServed).toBeLessThanOrEqual((image.sizeBytes ?? 0) + CHUNK_BYTES);
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', clones: HERD }]);
  });

  it('says that it lives until it is gone', async () => {
    const worker = flow.stack.workers.at(-1);
    if (!worker) throw new Error('no worker');
    const answer = await fetch(worker.livenessUrl);
    expect([answer.status, await answer.text()]).toEqual([200, 'ok\n']);
    expect(await worker.stop('SIGTERM')).toBe(0);
    await expect(fetch(worker.livenessUrl)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    await flow.stack.startWorker();
  });
});

describe('a second worker on a scratch that is held', () => {
  it('refuses to start and names the process that holds it', async () => {
    const holder = flow.stack.workers.at(-1)?.process.pid;
    await expect(flow.stack.startWorker()).rejects.toThrow(new RegExp(`scratch\\.directory: .* ${holder}\\b`));
    const { image } = await flow.upload('held-scratch');
    expect(await flow.create(image)).toMatchObject({ outcome: 'miss' });
    await expectCleanSlate(flow.stack);
  });
});
