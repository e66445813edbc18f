import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { undoneOnFailure } from '../machine/undos';
import { newSecret } from './cloud';
import { logInToCloud, type CloudAccount } from './cloud-user';
import { startRealNova } from './nova';
import { startVolumeCloud, type VolumeCloud } from './volume-cloud';

const ADDRESSES = 'IVC_TEST_NOVA_CLOUD';
/** Nobody mounts it: the servers of Nova's fake driver open no disk. */
const EXPORT = '192.0.2.1:/volumes';

/** The same with a Nova. */
export interface NovaCloud extends VolumeCloud {
  /** A user of the cloud, a member of their project. */
  member: CloudAccount;
  flavorId: string;
  /** As public as the other, of other bytes. */
  otherImageId: string;
  /** Of the stack whose API it is. */
  configPath: string;
}

/** Tests of the run find it by `getNovaCloud`, in other processes too. */
export async function startNovaCloud(): Promise<{ stop: () => Promise<void> }> {
  return await undoneOnFailure(async ({ after, run }) => {
    const { cloud, keystone, configPath, uploadImage, stop } = await startVolumeCloud({ exported: EXPORT });
    after(stop);
    const directory = await mkdtemp(join(tmpdir(), 'ivc-nova-'));
    after(() => rm(directory, { recursive: true, force: true }));
    const nova = await startRealNova({ directory: join(directory, 'nova'), keystone, region: cloud.region });
    after(nova.stop);
    const member = { user: 'dana', password: newSecret(), project: 'dana' };
    await keystone.operator.ensureAccount({ ...member, roles: ['member'] });
    const { compute } = await logInToCloud(cloud, cloud.admin);
    const flavor = await compute('POST /flavors', { flavor: { name: 'small', vcpus: 1, ram: 64, disk: 0 } });
    const flavorId: string = flavor.body.flavor.id;
    const otherImageId = await uploadImage('other');
    const addresses: NovaCloud = { ...cloud, member, flavorId, otherImageId, configPath };
    process.env[ADDRESSES] = JSON.stringify(addresses);
    return { stop: run };
  });
}

/** @throws Error outside of a run that has started one. */
export function getNovaCloud(): NovaCloud {
  const text = process.env[ADDRESSES];
  if (text === undefined) throw new Error('no cloud is started: this suite needs the set-up of its own');
  return JSON.parse(text) as NovaCloud;
}
