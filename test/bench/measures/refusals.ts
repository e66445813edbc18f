import { randomUUID } from 'node:crypto';
import { createSnapshot, deleteSnapshot } from '../../../client/snapshots';
import { getSnapshot, getVolume } from '../../../client/reads';
import { createVolume, extendVolume, reimageVolume } from '../../../client/volumes';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import { createImageMembers } from '../../support/glance/image-members';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { startStandInKeystone } from '../../support/openstack/stand-in-keystone';
import { startBenchStack, type BenchServers } from '../bench-stack';
import { percentile, rounded } from '../result';

const PAIRS = 60;

/** How long a project waits for the 404 of what is not there, and of what is another project's. */
export interface RefusalMeasure {
  measure: 'refusal';
  what: string;
  n: number;
  absentP50Ms: number;
  foreignP50Ms: number;
  /** Difference between the first and the second half of the answers of one kind: the noise of the machine alone. */
  noiseMs: number;
}

type Ask = (id: string) => Promise<unknown>;

export async function measureRefusals(servers: BenchServers): Promise<RefusalMeasure[]> {
  const keystone = await startStandInKeystone();
  const identity = { authUrl: keystone.url, username: 'ivc', projectName: 'service' };
  const stack = await startBenchStack(servers, { config: { identity }, environment: { OS_PASSWORD: 'any' } });
  try {
    const { cache, backend } = stack;
    const sample = await makeSampleImage({ directory: servers.directory, name: 'refused', virtualBytes: MiB });
    const publish = async (visibility: string) =>
      (await uploadSample(servers.images, sample, { name: visibility, owner: 'owner', visibility })).id;
    const [own, shared] = [await publish('private'), await publish('shared')];
    await createImageMembers(servers.imagesUrl).add(shared, 'member');
    const { volumeId } = await createVolume(cache, { imageId: own, backend, projectId: 'owner' });
    const { snapshotId } = (await createSnapshot(cache, { volumeId, projectId: 'owner' }, {})).result;
    const stranger = { projectId: 'stranger' };
    const create: Ask = (imageId) => createVolume(cache, { imageId, backend, ...stranger });
    const asked: [string, string, Ask][] = [
      ['volume show', volumeId, (id) => getVolume(cache, id, stranger)],
      ['volume extend', volumeId, (id) => extendVolume(cache, id, { ...stranger, sizeBytes: GiB })],
      ['volume reimage', volumeId, (id) => reimageVolume(cache, id, { ...stranger, imageId: own })],
      ['snapshot show', snapshotId, (id) => getSnapshot(cache, id, stranger)],
      ['snapshot delete', snapshotId, (id) => deleteSnapshot(cache, id, stranger)],
      ['volume create, private image', own, create],
      ['volume create, image shared with another', shared, create],
    ];
    const measures: RefusalMeasure[] = [];
    for (const [what, foreignId, ask] of asked) measures.push(await compare(what, foreignId, ask));
    return measures;
  } finally {
    await stack.stop();
    await keystone.stop();
  }
}

/** Pair by pair, the one first and then the other, so that what the machine does meanwhile strikes both. */
async function compare(what: string, foreignId: string, ask: Ask): Promise<RefusalMeasure> {
  const [absentMs, foreignMs]: [number[], number[]] = [[], []];
  // One too: Temporal's work for a workflow id that comes again is no answer of ours.
  const absentId = randomUUID();
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const absent = async () => void absentMs.push(await refusalMs(ask, absentId));
    const foreign = async () => void foreignMs.push(await refusalMs(ask, foreignId));
    for (const one of pair % 2 === 0 ? [absent, foreign] : [foreign, absent]) await one();
  }
  const half = absentMs.length / 2;
  const noiseMs = Math.abs(percentile(absentMs.slice(0, half), 0.5) - percentile(absentMs.slice(half), 0.5));
  return {
    measure: 'refusal',
    what,
    n: PAIRS,
    absentP50Ms: rounded(percentile(absentMs, 0.5), 2),
    foreignP50Ms: rounded(percentile(foreignMs, 0.5), 2),
    noiseMs: rounded(noiseMs, 2),
  };
}

async function refusalMs(ask: Ask, id: string): Promise<number> {
  const startedAtMs = performance.now();
  const refused = await ask(id).then(
    () => false,
    (error: unknown) => ((error as { type?: string }).type ?? '').endsWith('NotFound'),
  );
  if (!refused) throw new Error(`${id} was not refused as what is not there`);
  return performance.now() - startedAtMs;
}
