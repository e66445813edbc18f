import type { ProjectId } from '../../workflows/contract/ids';
import type { Image, ImageStatus } from '../../workflows/contract/image';
import type { ImageMember } from './image-service';

/** `use`: its bytes are there to be read; `see`: only its record is; `none`: for the project there is no such image. */
export type ImageRight = 'use' | 'see' | 'none';

/** @returns whether the image's members decide what the project may do with it. */
export function isForMembers({ visibility, owner }: Image, projectId: ProjectId): boolean {
  return visibility === 'shared' && owner !== null && owner !== projectId;
}

/**
 * A project's right to an image, by the record and the members as they are now: neither moves a timestamp, so an earlier answer is worth nothing.
 * It is what Glance answers to a member of the project (`is_image_visible` in its `glance/db/utils.py`). A member's status is of no account: it decides
 * what the project's list shows. Nor are `hidden`, which is about lists too, and `protected`, which is about deletion.
 * @param members looked at only where they decide.
 */
export function rightTo(image: Image, projectId: ProjectId, members: readonly ImageMember[]): ImageRight {
  return isVisible(image, projectId, members) ? rightByStatus(image.status) : 'none';
}

function isVisible(image: Image, projectId: ProjectId, members: readonly ImageMember[]): boolean {
  if (image.owner === null || image.owner === projectId) return true;
  if (isForMembers(image, projectId)) return members.some((member) => member.projectId === projectId);
  return image.visibility === 'public' || image.visibility === 'community';
}

function rightByStatus(status: ImageStatus): ImageRight {
  switch (status) {
    case 'active':
      return 'use';
    // An administrator could read its data all the same.
    case 'deactivated':
    case 'queued':
    case 'saving':
    case 'uploading':
    case 'importing':
    case 'killed':
      return 'see';
    case 'deleted':
    case 'pending_delete':
      return 'none';
  }
}
