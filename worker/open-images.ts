import { createGlanceClient } from '../activities/glance/client';
import type { ImageService } from '../activities/glance/image-service';
import { openIdentity, type Identity } from '../activities/keystone/identity';
import type { ResolvedConfig } from '../client/config/load';

/**
 * The configured image service, asked with tokens where an identity is configured. Closing it closes both.
 * @throws Failure InvalidRequest for what is configured wrong; CredentialsRefused, IdentityUnavailable where the endpoint is the catalogue's.
 */
export async function openImages(config: ResolvedConfig): Promise<ImageService> {
  const identity = config.identity && openIdentity(config.identity);
  try {
    const endpoint = await findImagesEndpoint(config, identity);
    const images = createGlanceClient({ endpoint, getToken: identity?.getToken, tls: identity?.tls });
    const close = async (): Promise<void> => {
      await images.close();
      await identity?.close();
    };
    return { ...images, close };
  } catch (error) {
    await identity?.close();
    throw error;
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
