import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '../../../../workflows/contract/bytes';

const SIZE_BYTES = 128 * MiB;
/** Six blocks of 4 MiB, and as much again for what the measurement itself moves. */
const ALLOWED_BYTES = 48 * MiB;
const BLOCK_BYTES = 4 * MiB;

describe('the memory of a download', () => {
  it('is that of its blocks, whatever the size of the image', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'download-'));
    try {
      const peakBytes = await measurePeak(directory, SIZE_BYTES);
      expect(peakBytes).toBeGreaterThanOrEqual(BLOCK_BYTES);
      expect(peakBytes).toBeLessThan(ALLOWED_BYTES);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

async function measurePeak(directory: string, sizeBytes: number): Promise<number> {
  const support = resolve(__dirname, '../../../support');
  const script = ['--require', join(support, 'register-typescript.cjs'), join(support, 'machine/download-peak.ts')];
  const { stdout } = await promisify(execFile)(process.execPath, [...script, directory, String(sizeBytes)]);
  return Number(stdout);
}
