import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createGlanceClient } from '../../../../activities/glance/client';
import { downloadImage } from '../../../../activities/image/download';
import { startTestImageService } from '../../../support/image-service';
import { KiB, MiB } from '../../../../workflows/contract/bytes';

const SIZE_BYTES = 128 * MiB;
/** Six blocks of 4 MiB, and as much again for what the measurement itself moves. */
const ALLOWED_BYTES = 48 * MiB;

describe('the memory of a download', () => {
  it('is that of its blocks, whatever the size of the image', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'download-'));
    const service = await startTestImageService(join(directory, 'images'));
    const images = createGlanceClient({ endpoint: service.url });
    try {
      const { id } = await images.createImage({ diskFormat: 'raw', containerFormat: 'bare' });
      const image = {
        ...(await images.getImage(id)),
        status: 'active' as const,
        sizeBytes: SIZE_BYTES,
        hashAlgorithm: 'sha512',
        hashValue: hashOfZeros(),
      };
      // What earlier tests left must not be collected in the middle of the measurement.
      collectGarbage();
      const before = process.memoryUsage().arrayBuffers;
      let peak = 0;
      const measure = (): void => {
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
      };
      // The network is left out, so that only what the download holds is measured.
      const openDownload = async () => ({ startsAtBytes: 0, lengthBytes: SIZE_BYTES, body: zeros(measure) });
      const reporter = { signal: new AbortController().signal, report: measure };
      await downloadImage({ images: { ...images, openDownload }, image, path: join(directory, 'file'), reporter });
      expect(peak).toBeGreaterThan(0);
      expect(peak).toBeLessThan(ALLOWED_BYTES);
    } finally {
      await images.close();
      await service.stop();
      await rm(directory, { recursive: true, force: true });
    }
  });
});

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

const chunk = Buffer.alloc(64 * KiB);

async function* zeros(onChunk: () => void): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < SIZE_BYTES; sent += chunk.length) {
    onChunk();
    yield chunk;
  }
}

function hashOfZeros(): string {
  const hash = createHash('sha512');
  for (let sent = 0; sent < SIZE_BYTES; sent += chunk.length) hash.update(chunk);
  return hash.digest('hex');
}
