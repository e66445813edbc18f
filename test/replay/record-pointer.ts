import { join } from 'node:path';
import { deleteVolume } from '../../client/volumes';
import { uploadVolume } from '../../client/uploads';
import type { BackendName } from '../../workflows/contract/ids';
import { CephCluster } from '../support/ceph/cluster';
import { startRealGlance } from '../support/glance/real-glance';
import { undoneOnFailure } from '../support/machine/undos';
import { flowsOf } from '../support/stack/flows';
import { startStack } from '../support/stack/stack';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** An upload that sends no byte: with a real Ceph, and a real Glance that may read the volumes. */
export async function recordPointer(directory: string, saverOf: (flow: FlowStack) => Save): Promise<void> {
  await undoneOnFailure(async (undos) => {
    const ceph = await CephCluster.start({ directory: join(directory, 'ceph') });
    undos.after(() => ceph.stop());
    const both = 'profile rbd pool=volumes, profile rbd pool=images';
    for (const user of ['glance-of-both', 'pointing'])
      await ceph.createUser(user, { mon: 'profile rbd', osd: both, mgr: both });
    const glance = await startRealGlance({ ceph, cephUser: 'glance-of-both' });
    undos.after(() => glance.stop());
    const backend = 'ceph' as BackendName;
    const place = { driver: 'rbd', pool: 'volumes', conf: ceph.confPath, user: 'pointing' };
    const config = { backends: { ceph: place }, schedules: { refresh: 'off', reconcile: 'off', evict: 'off' } };
    const stack = await startStack({ backend, imagesEndpoint: glance.endpoint, config });
    undos.after(() => stack.stop());
    const flow = flowsOf({ stack: () => stack, directory: () => directory });
    const { volumeId } = await flow.create((await flow.upload('pointed', { diskFormat: 'raw' })).image);
    const { workflowId } = await uploadVolume(stack.cache, { volumeId }, { wait: true });
    await saverOf(flow)('upload-pointer', { workflowId });
    await deleteVolume(stack.cache, volumeId);
    await undos.run();
  });
}
