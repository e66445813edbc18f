import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createGlanceClient } from '../../../activities/glance/client';
import { openIdentity } from '../../../activities/keystone/identity';
import { MiB } from '../../../workflows/contract/bytes';
import { undoneOnFailure } from '../machine/undos';
import { startApi } from '../stack/api';
import { startStack } from '../stack/stack';
import { newSecret, startRealCloud } from './cloud';
import type { RealKeystone } from './keystone';

const IMAGE_BYTES = 16 * MiB;
const ADDRESSES = 'IVC_TEST_VOLUME_CLOUD';

/** Access data for a client of a cloud, where our API is what the catalogue calls `volumev3` and `block-storage`. */
export interface VolumeCloud {
  keystoneUrl: string;
  region: string;
  /** An administrator of the cloud, with a project that is theirs. */
  admin: { user: string; password: string; project: string; projectId: string };
  /** Of the user `admin`, whom some tests know an administrator by. */
  adminPassword: string;
  /** Of our API, without a version. */
  volumesUrl: string;
  /** A raw image of 16 MiB that everybody may use. */
  imageId: string;
}

interface StartedVolumeCloud {
  cloud: VolumeCloud;
  keystone: RealKeystone;
  /** Of the stack whose API it is. */
  configPath: string;
  uploadImage(this: void, name: string): Promise<string>;
  stop(this: void): Promise<void>;
}

/**
 * Starts a real Keystone and a real Glance, and our API with one worker on files, with the account that docs/api.md describes.
 * Tests of the run find it by `getVolumeCloud`, in other processes too.
 * @param exported where hosts mount the backend's directory from; default: they cannot.
 */
export async function startVolumeCloud({ exported }: { exported?: string } = {}): Promise<StartedVolumeCloud> {
  return await undoneOnFailure(async ({ after, run }) => {
    const cloud = await startRealCloud({ tokenSeconds: 3600 });
    after(() => cloud.stop());
    const { operator, url: keystoneUrl, adminPassword } = cloud.keystone;
    const account = { user: 'tempest', password: newSecret(), project: 'tempest' };
    const { projectId } = await operator.ensureAccount({ ...account, roles: ['admin'] });
    const { password } = cloud.account;
    await operator.ensureAccount({ user: 'ivc', password, project: 'ivc', roles: ['service', 'image_volume_cache'] });
    const stack = await startStack({
      config: { identity: { cloud: 'ivc' }, images: { service: 'catalogue' } },
      environment: cloud.environment,
      imagesEndpoint: cloud.glance.endpoint,
      exported,
    });
    after(() => stack.stop());
    const api = await startApi(stack, { auth: 'keystone' });
    after(() => api.stop());
    const region = 'RegionOne';
    for (const type of ['volumev3', 'block-storage'])
      await operator.addEndpoints({ type, region, url: `${api.url}/v3/$(project_id)s` });
    const admin = { ...account, projectId };
    const uploadImage = async (name: string): Promise<string> =>
      await uploadPublicImage({ keystoneUrl, region, admin }, { name, endpoint: cloud.glance.endpoint });
    const imageId = await uploadImage('tempest');
    const addresses: VolumeCloud = { keystoneUrl, region, admin, adminPassword, volumesUrl: api.url, imageId };
    process.env[ADDRESSES] = JSON.stringify(addresses);
    const configPath = stack.environment['IVC_CONFIG'] ?? '';
    return { cloud: addresses, keystone: cloud.keystone, configPath, uploadImage, stop: run };
  });
}

/** @throws Error outside of a run that has started one. */
export function getVolumeCloud(): VolumeCloud {
  const text = process.env[ADDRESSES];
  if (text === undefined) throw new Error('no cloud is started: this suite needs the set-up of its own');
  return JSON.parse(text) as VolumeCloud;
}

async function uploadPublicImage(
  { keystoneUrl, region, admin }: Pick<VolumeCloud, 'keystoneUrl' | 'region' | 'admin'>,
  { name, endpoint }: { name: string; endpoint: string },
): Promise<string> {
  const identity = openIdentity(
    { authUrl: keystoneUrl, username: admin.user, projectName: admin.project, region },
    { OS_PASSWORD: admin.password },
  );
  const images = createGlanceClient({ endpoint, getToken: identity.getToken });
  const bytes = Buffer.concat([randomBytes(MiB), Buffer.alloc(IMAGE_BYTES - MiB)]);
  try {
    const { id } = await images.createImage({
      name,
      diskFormat: 'raw',
      containerFormat: 'bare',
      visibility: 'public',
    });
    await images.uploadImage({ imageId: id, body: Readable.from([bytes]), sizeBytes: bytes.length });
    return id;
  } finally {
    await Promise.all([images.close(), identity.close()]);
  }
}
