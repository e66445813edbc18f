import type { Command } from 'commander';
import { getVolume } from '../../volumes';
import { formatConnection, formatOptionalBytes, formatPairs, qemuDrive } from '../output/format';
import { print, printJson } from '../output/print';
import { formatRecord } from '../output/table';
import { withClient, withSharedOptions, type SharedOptions } from '../shared-options';
import { parseUuid } from '../values';

export function registerVolumeShow(volume: Command): void {
  const command = volume
    .command('show')
    .description('show a volume, and how QEMU attaches it')
    .argument('<volume-id>', 'the volume', parseUuid);
  withSharedOptions(command).action(show);
}

async function show(volumeId: string, options: SharedOptions): Promise<void> {
  const volume = await withClient(options, (cache) => getVolume(cache, volumeId));
  const qemu = volume.connection === null ? null : qemuDrive(volume.connection);
  if (options.json) return printJson({ ...volume, qemu });
  print(
    formatRecord({
      volumeId: volume.volumeId,
      name: volume.name ?? undefined,
      state: volume.state,
      error: volume.error?.message,
      size: formatOptionalBytes(volume.sizeBytes),
      backend: volume.backend,
      imageId: volume.imageId,
      projectId: volume.projectId,
      outcome: volume.outcome ?? undefined,
      entryId: volume.entryId ?? undefined,
      attachedTo: volume.attachedTo ?? undefined,
      connection: volume.connection === null ? undefined : formatConnection(volume.connection),
      qemu: qemu ?? undefined,
      metadata: formatPairs(volume.metadata) || undefined,
      imageMetadata: formatPairs(volume.imageMetadata) || undefined,
      createdAt: volume.createdAt,
      availableAt: volume.availableAt ?? undefined,
      deletedAt: volume.deletedAt ?? undefined,
      workflowId: volume.workflowId,
    }),
  );
}
