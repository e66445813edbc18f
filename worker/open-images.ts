import { createGlanceClient } from '../activities/glance/client';
import type { ImageService } from '../activities/glance/image-service';
import { openIdentity, type Identity } from '../activities/keystone/identity';
import { findTenant, type Tenant } from '../activities/keystone/find-tenant';
import { createComputeService, type ComputeService } from '../activities/nova/compute-service';
import { createProjectCheck, type ProjectCheck } from '../activities/keystone/project-check';
import type { ResolvedConfig } from '../client/config/load';
import type { Logger } from '../client/logger';
import { Failure } from '../workflows/contract/failures';

/**
 * The configured image service, asked with tokens where an identity is configured. Closing it closes both.
 * @throws Failure InvalidRequest for what is configured wrong; CredentialsRefused, IdentityUnavailable where the endpoint is the catalogue's.
 */
export async function openImages(config: ResolvedConfig, logger: Logger): Promise<OpenImages> {
  const identity = config.identity && openIdentity(config.identity);
  try {
    const endpoint = await findImagesEndpoint(config, identity);
    const internalTenant = await findInternalTenant(config, { identity, logger });
    const images = createGlanceClient({ endpoint, getToken: identity?.getToken, tls: identity?.tls });
    if (identity !== undefined) await checkReads(images, { identity, logger });
    const compute = identity && createComputeService(identity);
    const close = async (): Promise<void> => {
      await images.close();
      await compute?.close();
      await identity?.close();
    };
    const checkProject = identity === undefined ? passEvery : createProjectCheck(identity);
    return { images: { ...images, close }, internalTenant, checkProject, compute };
  } catch (error) {
    await identity?.close();
    throw error;
  }
}

interface OpenImages {
  images: ImageService;
  internalTenant: Tenant;
  checkProject: ProjectCheck;
  compute: ComputeService | undefined;
}

const passEvery: ProjectCheck = () => Promise.resolve();

/** Owner of objects that belong to no project, where there is no Keystone that knows projects. */
const NOBODY = 'image-volume-cache';

async function findInternalTenant(
  { internalTenant }: ResolvedConfig,
  { identity, logger }: { identity: Identity | undefined; logger: Logger },
): Promise<Tenant> {
  if (identity === undefined) return { projectId: NOBODY, userId: NOBODY, ...internalTenant };
  const { label, doubt, ...tenant } = await findTenant(identity, internalTenant);
  if (doubt === undefined) logger.info(tenant, `the internal tenant is ${label}`);
  else logger.warn({ ...tenant, doubt }, `the internal tenant is ${label}, as far as can be seen`);
  return tenant;
}

/** An account that may never read is reported at the start; a passing failure, as of a service that starts too, is not waited for. */
async function checkReads(
  images: ImageService,
  { identity, logger }: { identity: Identity; logger: Logger },
): Promise<void> {
  try {
    await images.listImages({ limit: 1 });
  } catch (error) {
    const { user, project } = await identity.describeAccount();
    if (!(error instanceof Failure) || !error.isFinal) {
      logger.warn({ err: error }, `${images.endpoint} does not list images to user ${user} of project ${project} now`);
      return;
    }
    const allowed = `an account that may read images at ${images.endpoint} (get_images, get_image, download_image)`;
    throw new Failure(
      'InvalidRequest',
      { field: 'identity', value: `user ${user} of project ${project}`, allowed },
      { cause: error },
    );
  }
}

/** @returns where the configured image service is. @throws as `openImages`; Error where it is the embedded one. */
export async function findImagesEndpoint(
  { images }: Pick<ResolvedConfig, 'images'>,
  identity: Identity | undefined,
): Promise<string> {
  if ('endpoint' in images) return images.endpoint;
  if (images.service === 'catalogue' && identity !== undefined) return await identity.findImageEndpoint();
  throw new Error(
    'images.service: got embedded, which only `ivc up` starts; set images.endpoint or OS_IMAGE_ENDPOINT_OVERRIDE',
  );
}
