import type { Command } from 'commander';
import type { ImageVolumeCache } from '../../connection';
import type { Volume } from '../../records';
import { getVolume } from '../../volumes';
import { formatConnection, formatOptionalBytes, formatPairs } from '../output/format';
import { print } from '../output/print';
import { formatRecord } from '../output/table';
import { showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseUuid } from '../values';
import { libvirtDisk, qemuBlockdev, qemuDrive } from '../output/attach';

export function registerVolumeShow(volume: Command): void {
  const command = volume
    .command('show')
    .description('show a volume, and how QEMU attaches it')
    .argument('<volume-id>', 'the volume', parseUuid);
  withSharedOptions(command).action(async (volumeId: string, options: SharedOptions) => {
    await showFound(options, (cache) => read(cache, volumeId), show);
  });
}

async function read(cache: ImageVolumeCache, volumeId: string): Promise<ShownVolume> {
  const volume = await getVolume(cache, volumeId);
  const { connection } = volume;
  if (connection === null) return { ...volume, qemu: null, blockdev: null, libvirt: null };
  const attach = { qemu: qemuDrive(connection), blockdev: qemuBlockdev(connection), libvirt: libvirtDisk(connection) };
  return { ...volume, ...attach };
}

type ShownVolume = Volume & Record<'qemu' | 'blockdev' | 'libvirt', string | null>;

function show(volume: ShownVolume): void {
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
      qemu: volume.qemu ?? undefined,
      blockdev: volume.blockdev ?? undefined,
      metadata: formatPairs(volume.metadata) || undefined,
      imageMetadata: formatPairs(volume.imageMetadata) || undefined,
      createdAt: volume.createdAt,
      availableAt: volume.availableAt ?? undefined,
      deletedAt: volume.deletedAt ?? undefined,
      workflowId: volume.workflowId,
    }),
  );
  if (volume.libvirt !== null) print(['', ...volume.libvirt.split('\n')]);
}
