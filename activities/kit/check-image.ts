import { Failure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type { ControlDependencies } from '../dependencies';

/**
 * Checks what an image's record says before anything is made of it.
 * @throws ImageNotActive, ImageUnsupported, ImageRefused (final).
 */
export function checkImage({ config }: ControlDependencies, image: Image): void {
  if (image.status !== 'active') throw new Failure('ImageNotActive', { imageId: image.id, status: image.status });
  const unsupported = (found: string, allowed: string) =>
    new Failure('ImageUnsupported', { imageId: image.id, found, allowed });
  const containers: readonly string[] = config.policy.containers;
  if (!containers.includes(image.containerFormat ?? ''))
    throw unsupported(`container_format ${image.containerFormat}`, `container_format ${containers.join(', ')}`);
  const formats: readonly string[] = config.policy.formats;
  if (!formats.includes(image.diskFormat ?? ''))
    throw unsupported(`disk_format ${image.diskFormat}`, `disk_format ${formats.join(', ')}`);
  if (image.sizeBytes === null || image.sizeBytes === 0) throw unsupported('empty', 'at least one byte');
  const virtualBytes = image.virtualSizeBytes ?? 0;
  if (virtualBytes > config.policy.maxVirtualSize) {
    throw new Failure('ImageRefused', {
      imageId: image.id,
      rule: 'max-virtual-size',
      found: `${virtualBytes} bytes`,
      allowed: `at most ${config.policy.maxVirtualSize} bytes`,
    });
  }
}
