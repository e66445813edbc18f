import type { Command } from 'commander';
import type { TimingsMs } from '../../../workflows/contract/volume';
import type { ImageVolumeCache } from '../../connection';
import type { Volume } from '../../records';
import { getVolume } from '../../reads';
import { showRecord } from '../output/show';
import { projectOf, withProjectOptions, type ProjectOptions } from '../project';
import { resolveVolume } from '../resolve';
import { showFound, withSharedOptions, withWatchOption, type SharedOptions, type WatchOptions } from '../run-verb';
import { libvirtDisk, qemuBlockdev, qemuDrive } from '../output/attach';

export function registerVolumeShow(volume: Command): void {
  const command = volume
    .command('show')
    .description('show a volume, why its create was answered so and how long each stage took, and how QEMU attaches it')
    .argument('<volume>', 'the volume: its id, the first digits of it, or its name');
  withSharedOptions(withWatchOption(withProjectOptions(command))).action(
    async (called: string, options: SharedOptions & ProjectOptions & WatchOptions) => {
      await showFound(
        options,
        (cache) => read(cache, called, projectOf(cache.settings, options)),
        (found) =>
          showRecord(
            found,
            { id: 'volumeId', hidden: ['libvirt'], below: ({ libvirt }) => libvirtOf(libvirt) },
            options,
          ),
      );
    },
  );
}

async function read(cache: ImageVolumeCache, called: string, projectId: string | undefined): Promise<ShownVolume> {
  const volumeId = await resolveVolume(cache, called, projectId);
  const volume = await getVolume(cache, volumeId, { projectId });
  const [decision] = await (await cache.inventory()).listDecisions({ volumeId, limit: 1 });
  const { reason = null, bytesDownloaded = null, timingsMs = null } = decision ?? {};
  const decided = { ...volume, reason, bytesDownloaded, timingsMs };
  const { connection } = volume;
  if (connection === null) return { ...decided, qemu: null, blockdev: null, libvirt: null };
  const attach = { qemu: qemuDrive(connection), blockdev: qemuBlockdev(connection), libvirt: libvirtDisk(connection) };
  return { ...decided, ...attach };
}

/** With why its create was answered so, what was downloaded for it, and the time of each stage; and how it is attached. */
type ShownVolume = Volume &
  Record<'reason' | 'qemu' | 'blockdev' | 'libvirt', string | null> & {
    bytesDownloaded: number | null;
    timingsMs: TimingsMs | null;
  };

function libvirtOf(domain: string | null): string[] {
  return domain === null ? [] : ['', ...domain.split('\n')];
}
