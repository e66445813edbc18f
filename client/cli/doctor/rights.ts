import type { ImageCatalog } from '../../images';
import type { ImageVolumeCache } from '../../connection';
import { asClientErrors, ImageVolumeCacheError } from '../../errors';
import type { Image } from '../../../workflows/contract/image';
import { fault, ok, skipped, warning, type DoctorFinding } from './check';

const CHECK = 'rights to images';
/** The role of our policy for Glance; another name does as well. */
const OWN_ROLE = 'image_volume_cache';
const REMEDY = `give the account the role ${OWN_ROLE} alone, and Glance docs/glance/policy.yaml`;
/** Of the newest ones of each visibility, looked through for one of another project. */
const IMAGES_LOOKED_AT = 100;

/** Whether the account of the installation may read what creates need, every project's images, and no more. */
export async function checkImageRights(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  try {
    const identity = cache.identity();
    if (identity === undefined) return [];
    const { project, roles } = await asClientErrors(() => identity.readOwn());
    const images = await cache.images();
    return [
      describeRights(
        roles.map(({ name }) => name),
        await probe(images, project?.id),
      ),
    ];
  } catch (error) {
    if (!(error instanceof ImageVolumeCacheError)) throw error;
    // The checks of these two say what is wrong.
    return [skipped(CHECK, 'the identity or the image service does not answer')];
  }
}

interface Probed {
  /** Whether images were seen that only who may read every project's sees. */
  foreign: boolean;
  /** Parts of them that could not be read. */
  unread: string[];
}

async function probe(images: ImageCatalog, projectId: string | undefined): Promise<Probed> {
  const find = async (visibility: string, isFit: (image: Image) => boolean = () => true) => {
    const { images: seen } = await images.listImages({ visibility, limit: IMAGES_LOOKED_AT });
    return seen.find((image) => image.owner !== null && image.owner !== projectId && isFit(image));
  };
  const shared = await find('shared');
  const hidden = await find('private', isActive);
  const foreign = hidden ?? shared ?? (await find('private'));
  const active = hidden ?? (await find('shared', isActive));
  const unread = [
    ...(shared === undefined || (await images.showsMembers(shared.id)) ? [] : ['members (get_members)']),
    ...(active === undefined || (await images.givesData(active)) ? [] : ['data (download_image)']),
  ];
  return { foreign: foreign !== undefined, unread };
}

function isActive({ status, sizeBytes }: Image): boolean {
  return status === 'active' && (sizeBytes ?? 0) > 0;
}

function describeRights(roles: readonly string[], { foreign, unread }: Probed): DoctorFinding {
  if (unread.length > 0)
    return fault(CHECK, `images of other projects are seen, their ${unread.join(' and ')} not given`, REMEDY);
  if (roles.includes('admin'))
    return warning(CHECK, 'reads the images of all projects; as admin it may change and delete them too', REMEDY);
  if (foreign) return ok(CHECK, 'reads the images of all projects');
  if (roles.includes(OWN_ROLE)) return ok(CHECK, `role ${OWN_ROLE}; no image of another project is there to read`);
  const found = 'no private or shared image of another project is seen: creates from one end as ImageNotFound';
  return warning(CHECK, found, REMEDY);
}
