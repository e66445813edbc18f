import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VolumeBackend } from '../../../activities/backends/backend';
import { createFileBackend } from '../../../activities/backends/file/backend';
import { formatOverlay } from '../../../activities/backends/file/qcow2-overlay';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import { imageMarker, volumeMarker } from '../../support/markers';
import { percentile, rounded } from '../result';
import { ALLOWED_RATIO, type ScaleMeasure } from './scale';

const SMALL_VOLUMES = 400;
const LARGE_VOLUMES = 40_000;
const WARM_UP = 3;
const TIMES = 50;
const PARENT = 'popular';

interface Place {
  backend: VolumeBackend;
  installation: InstallationId;
}

/** Measures work on one volume or parent in a directory of few overlays and in one of many, by turns. */
export async function measureDirectories(): Promise<ScaleMeasure[]> {
  const root = mkdtempSync(join(tmpdir(), 'ivc-scale-directory-'));
  try {
    const small = await fillDirectory(join(root, 'small'), SMALL_VOLUMES);
    const large = await fillDirectory(join(root, 'large'), LARGE_VOLUMES);
    const measures: ScaleMeasure[] = [];
    for (const work of works) measures.push(await measure(work, small, large));
    return measures;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** As an earlier version has left it: the first look at a parent's clones notes them all. */
async function fillDirectory(directory: string, volumes: number): Promise<Place> {
  const installation = randomUUID() as InstallationId;
  const backend = await createFileBackend({
    name: 'scale' as BackendName,
    installation,
    directory,
    clone: 'overlay',
  });
  const place = { backend, installation };
  await sealEmpty(place, PARENT);
  for (let made = 0; made < volumes; made += 1) {
    const marker = volumeMarker(place);
    await writeOverlay(
      join(directory, 'volumes', `${marker.volumeId}.qcow2`),
      JSON.stringify({ marker, parent: PARENT }),
    );
  }
  await rm(join(directory, 'clones'), { recursive: true });
  const opened = await createFileBackend({ name: backend.name, installation, directory, clone: 'overlay' });
  await opened.ensureImageVolumeAbsent('nobody');
  process.stderr.write(`${directory}: ${volumes} volumes\n`);
  return place;
}

async function writeOverlay(path: string, annotation: string): Promise<void> {
  const { writes, fileBytes } = formatOverlay({
    virtualBytes: GiB,
    backingFile: `../images/${PARENT}.raw`,
    annotation,
  });
  const file = await open(path, 'wx', 0o600);
  for (const { position, bytes } of writes) await file.write(bytes, 0, bytes.length, position);
  await file.truncate(fileBytes);
  await file.close();
}

async function sealEmpty(place: Place, name: string): Promise<void> {
  const marker = { ...imageMarker(place, name), virtualBytes: MiB };
  const target = await place.backend.ensureWriteTarget({
    kind: 'image-volume',
    name,
    attempt: 'a1',
    virtualBytes: MiB,
  });
  await place.backend.sealImageVolume(target, marker);
}

interface DirectoryWork {
  name: string;
  /** @returns what is measured. */
  prepare: (place: Place, n: number) => Promise<() => Promise<unknown>>;
}

const works: DirectoryWork[] = [
  {
    name: 'clone',
    prepare: async (place) => {
      const marker = { ...volumeMarker(place), sizeBytes: GiB };
      return () => place.backend.ensureClone(PARENT, marker);
    },
  },
  {
    name: 'delete a volume',
    prepare: async (place) => {
      const marker = { ...volumeMarker(place), sizeBytes: GiB };
      await place.backend.ensureClone(PARENT, marker);
      return () => place.backend.ensureVolumeAbsent(marker.volumeId);
    },
  },
  {
    name: 'delete a parent',
    prepare: async (place, n) => {
      await sealEmpty(place, `parent-${n}`);
      return () => place.backend.ensureImageVolumeAbsent(`parent-${n}`);
    },
  },
];

async function measure({ name, prepare }: DirectoryWork, small: Place, large: Place): Promise<ScaleMeasure> {
  const [smallMs, largeMs]: [number[], number[]] = [[], []];
  for (let n = 1; n <= WARM_UP + TIMES; n += 1)
    for (const [place, times] of [
      [small, smallMs],
      [large, largeMs],
    ] as const) {
      const run = await prepare(place, n);
      const startedAtMs = performance.now();
      await run();
      if (n > WARM_UP) times.push(performance.now() - startedAtMs);
    }
  const [smallP50Ms, largeP50Ms] = [percentile(smallMs, 0.5), percentile(largeMs, 0.5)];
  const ratio = rounded(largeP50Ms / smallP50Ms, 2);
  return {
    measure: 'scale',
    name: `${name}, beside ${SMALL_VOLUMES} / ${LARGE_VOLUMES} volumes of a directory`,
    n: TIMES,
    smallP50Ms: rounded(smallP50Ms, 2),
    largeP50Ms: rounded(largeP50Ms, 2),
    ratio,
    withinAllowed: ratio <= ALLOWED_RATIO,
    plans: [],
  };
}
