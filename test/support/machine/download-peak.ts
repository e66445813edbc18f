/**
 * A process that downloads one image of zeros and prints the most bytes that its buffers held at once: only one that runs nothing else can tell.
 * Arguments: directory, the image's size.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createGlanceClient } from '../../../activities/glance/client';
import { downloadImage } from '../../../activities/image/download';
import { startTestImageService } from '../glance/image-service';
import { KiB } from '../../../workflows/contract/bytes';

const chunk = Buffer.alloc(64 * KiB);

async function printPeak([directory = '', size = '']: string[]): Promise<void> {
  const sizeBytes = Number(size);
  const service = await startTestImageService(join(directory, 'images'));
  const images = createGlanceClient({ endpoint: service.url });
  try {
    const { id } = await images.createImage({ diskFormat: 'raw', containerFormat: 'bare' });
    const image = {
      ...(await images.getImage(id)),
      status: 'active' as const,
      sizeBytes,
      hashAlgorithm: 'sha512',
      hashValue: hashOfZeros(sizeBytes),
    };
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    let peakBytes = 0;
    const measure = (): void => {
      peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
    };
    // The network is left out, so that only what the download holds is measured.
    const openDownload = async () => ({ startsAtBytes: 0, lengthBytes: sizeBytes, body: zeros(sizeBytes, measure) });
    const reporter = { signal: new AbortController().signal, report: measure };
    await downloadImage({ images: { ...images, openDownload }, image, path: join(directory, 'file'), reporter });
    process.stdout.write(`${peakBytes}\n`);
  } finally {
    await images.close();
    await service.stop();
  }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

async function* zeros(sizeBytes: number, onChunk: () => void): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < sizeBytes; sent += chunk.length) {
    onChunk();
    yield chunk;
  }
}

function hashOfZeros(sizeBytes: number): string {
  const hash = createHash('sha512');
  for (let sent = 0; sent < sizeBytes; sent += chunk.length) hash.update(chunk);
  return hash.digest('hex');
}

void printPeak(process.argv.slice(2));
