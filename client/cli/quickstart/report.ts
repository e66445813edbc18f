import { formatBytes } from '../../../workflows/contract/bytes';
import type { Connection } from '../../../workflows/contract/volume';
import { formatDuration } from '../../../workflows/contract/words';
import { shortenIds } from '../output/short-ids';
import { formatTable } from '../output/table';

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
  const [first] = volumes;
  const whileItStays = [
    `Temporal UI                 ${temporalUi ?? 'of your own Temporal server'}`,
    ...(blockStorageApi === undefined ? [] : [`OpenStack's block-storage   ${blockStorageApi}/v3`]),
  ];
  const next = [
    ...(stays ? whileItStays : [`the stack and its UI again  npm run --silent ivc -- up --detach${dataFlag}`]),
    `all volumes                 npm run --silent ivc -- volume list${dataFlag}`,
    `how to attach one           npm run --silent ivc -- volume show ${first?.volumeId ?? 'VOLUME'}${dataFlag}`,
    `another volume              npm run --silent ivc -- volume create --image ${first?.imageId ?? 'IMAGE'}${dataFlag}`,
    `what is cached              npm run --silent ivc -- cache list${dataFlag}`,
  ];
  return ['', ...volumeTable, '', ...imageTable, '', 'Next steps:', ...next.map((line) => `  ${line}`), ''];
}
