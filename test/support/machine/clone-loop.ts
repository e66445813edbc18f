/**
 * A process that clones until it is killed, eight at a time, and tells each volume id when its clone has been answered.
 * Arguments: directory, installation, the image-volume's name, the size of its clones.
 */
import { randomUUID } from 'node:crypto';
import { createFileBackend } from '../../../activities/backends/file/backend';
import { volumeMarker } from '../markers';
import { brand } from '../brand';
import type { BackendName, InstallationId, VolumeId } from '../../../workflows/contract/ids';

const IN_FLIGHT = 8;

async function cloneForEver([directory = '', installation = '', parent = '', size = '']: string[]): Promise<void> {
  const place = { installation: brand<InstallationId>(installation) };
  const backend = await createFileBackend({ name: brand<BackendName>('local'), ...place, directory, clone: 'auto' });
  const loops = Array.from({ length: IN_FLIGHT }, async () => {
    for (;;) {
      const volumeId = brand<VolumeId>(randomUUID());
      await backend.ensureClone(parent, volumeMarker(place, { volumeId, sizeBytes: Number(size) }));
      process.stdout.write(`${volumeId}\n`);
    }
  });
  await Promise.all(loops);
}

void cloneForEver(process.argv.slice(2));
