import { startRealGlance } from '../support/glance/real-glance';
import { undoneOnFailure } from '../support/machine/undos';
import { CephCluster } from '../support/ceph/cluster';
import { listNamespace } from '../support/ceph/rbd-listing';
import { describeEveryStep } from '../support/every-step/every-step';
import { startEveryStepStack, type EveryStepStack } from '../support/every-step/step-stack';
import { uploadScenario, type ImagesOfUpload } from '../support/every-step/upload-scenario';
import type { World } from '../support/every-step/world';

const both = 'profile rbd pool=volumes, profile rbd pool=images';
const user = 'pointing-steps';

/** On Ceph, with a Glance whose pool the backend's user may write into. */
async function startOnCeph(): Promise<EveryStepStack> {
  const ceph = CephCluster.ofThisRun();
  await ceph.createUser(user, { mon: 'profile rbd', osd: both, mgr: both });
  return await undoneOnFailure(async (undos) => {
    const glance = await startRealGlance({ ceph, cephUser: user });
    undos.after(() => glance.stop());
    const namespace = await ceph.createNamespace();
    const stack = await startEveryStepStack({
      place: {
        backend: { driver: 'rbd', pool: 'volumes', namespace, conf: ceph.confPath, user },
        listing: listNamespace(ceph, namespace),
        imagesEndpoint: glance.endpoint,
      },
    });
    undos.after(() => stack.stop());
    return { ...stack, stop: () => undos.run() };
  });
}

/** Each image that there is has its pointer, in the inventory and in Glance's pool; no other has one. */
async function expectPointers(
  { stack: { database } }: World,
  { volumeId, present, asked }: ImagesOfUpload,
): Promise<void> {
  const pointers = await database.sql<{ id: string; state: string }[]>`
    select image_id as id, state from image_pointers where volume_id = ${volumeId} order by image_id`;
  expect([...pointers]).toEqual([...present].sort().map((id) => ({ id, state: 'ready' })));
  const inPool = (await CephCluster.ofThisRun().rbd(['ls', 'images'])).split('\n');
  expect(asked.filter((id) => inPool.includes(id))).toEqual(present);
}

describe('UploadVolumeToImage', () => {
  const steps = uploadScenario({
    name: 'an upload by a pointer',
    input: {},
    filling: ['pointImage'],
    struck: ['takeImageSnapshot', 'pointImage', 'removeImageSnapshot'],
    checkImages: expectPointers,
  });
  describeEveryStep({ UploadVolumeToImage: [steps] }, { startStack: startOnCeph });
});
