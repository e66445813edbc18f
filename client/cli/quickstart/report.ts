import { formatBytes } from '../../../workflows/contract/bytes';
import type { Connection } from '../../../workflows/contract/volume';
import { formatDuration } from '../../../workflows/contract/words';
import { shortenIds } from '../output/short-ids';
import { formatRecord, formatTable } from '../output/table';

export interface ImageReport {
  imageId: string;
  name: string;
  sizeBytes: number;
  /** Times the image service was asked for the bytes; null where it does not count. */
  downloads: number | null;
  /** Image-volumes that were ever made of it. */
  populations: number;
}

export interface VolumeReport {
  volumeId: string;
  imageId: string;
  outcome: string;
  reason: string;
  ms: number;
  bytesDownloaded: number;
  connection: Connection;
}

/** The document of `--json`. */
export interface QuickstartReport {
  images: ImageReport[];
  volumes: VolumeReport[];
  temporalUi: string | undefined;
  blockStorageApi: string | undefined;
}

/** The text for a newcomer at the end. @returns its lines. */
export function formatReport(
  { images, volumes, temporalUi, blockStorageApi }: QuickstartReport,
  { stays, dataFlag }: { stays: boolean; dataFlag: string },
): string[] {
  const nameOf = (imageId: string) => images.find((image) => image.imageId === imageId)?.name ?? imageId;
  const volumeRows = volumes.map(({ volumeId, imageId, outcome, ms, bytesDownloaded, reason }) => [
    volumeId,
    nameOf(imageId),
    outcome,
    formatDuration(ms),
    bytesDownloaded === 0 ? '-' : formatBytes(bytesDownloaded),
    reason,
  ]);
  shortenIds(volumeRows, 0);
  const volumeTable = formatTable(['VOLUME', 'IMAGE', 'OUTCOME', 'TIME', 'DOWNLOADED', 'REASON'], volumeRows);
  const imageTable = formatTable(
    ['IMAGE', 'SIZE', 'VOLUMES', 'DOWNLOADS', 'POPULATIONS'],
    images.map(({ imageId, name, sizeBytes, downloads, populations }) => [
      name,
      formatBytes(sizeBytes),
      String(volumes.filter((volume) => volume.imageId === imageId).length),
      String(downloads ?? '-'),
      String(populations),
    ]),
  );
  const [first] = volumeRows;
  const command = (verb: string): string => `npm run --silent ivc -- ${verb}${dataFlag}`;
  const stack: Record<string, string | undefined> = stays
    ? {
        'Temporal UI': temporalUi ?? 'of your own Temporal server',
        'Block storage': blockStorageApi && `${blockStorageApi}/v3`,
      }
    : { 'the stack again': command('up --detach') };
  const steps = {
    ...stack,
    'all volumes': command('volume list'),
    'how to attach one': command(`volume show ${first?.[0] ?? 'VOLUME'}`),
    'another volume': command(`volume create --image ${first?.[1] ?? 'IMAGE'}`),
    'what is cached': command('cache list'),
  };
  // To copy: a terminal alone breaks them.
  const next = formatRecord(steps, { columns: Infinity }).map((line) => `  ${line}`);
  return ['', ...volumeTable, '', ...imageTable, '', 'Next steps:', ...next, ''];
}
