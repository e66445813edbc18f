import { viewBackends, type BackendView } from '../../db/placement';
import { ANY_BACKEND, type CreateVolumeInput } from '../../workflows/contract/volume';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { formatBytes } from '../../workflows/contract/bytes';
import { plural, quote } from '../../workflows/contract/words';
import type { ControlDependencies } from '../dependencies';
import { chooseBackend } from '../kit/request';
import { isNoType, resolveVolumeType } from '../kit/volume-type';
import { followNameOf } from './create-volume-request';

/** Where a volume may be made. */
export interface Places {
  /** The first counts where nothing is known of any. */
  backends: readonly [BackendName, ...BackendName[]];
  volumeType: string | null;
  /** Null where the configuration has it. */
  volumeTypeId: string | null;
  multiattach: boolean;
  /** Whether the caller leaves the choice to us. */
  isAny: boolean;
}

type Meant = Pick<CreateVolumeInput, 'backend' | 'volumeType' | 'defaultVolumeType'> & {
  imageId?: string;
  /** As its image says. */
  imageType?: string;
};

/**
 * @returns the one backend that a request names, else those of its volume type, else the default ones.
 * @throws VolumeTypeNotFound, one and the same for what is not there and for what is not this project's; InvalidRequest (final).
 */
export async function placesFor(deps: ControlDependencies, request: Meant, projectId: ProjectId): Promise<Places> {
  const { config } = deps;
  const { backend, imageId } = request;
  const asked = typeAskedFor(deps, request);
  const all = Object.keys(config.backends);
  const type = asked === undefined ? undefined : await resolveVolumeType(deps, asked, projectId);
  const ofType = {
    volumeType: type?.name ?? null,
    volumeTypeId: type?.id ?? null,
    multiattach: type?.multiattach ?? false,
  };
  if (type === undefined && backend !== ANY_BACKEND)
    return { backends: [chooseBackend(deps, backend)], ...ofType, isAny: false };
  const allowed = type?.backends ?? all;
  if (backend !== undefined && backend !== ANY_BACKEND) {
    if (!all.includes(backend)) chooseBackend(deps, backend);
    if (!allowed.includes(backend))
      throw new Failure('InvalidRequest', {
        field: 'backend',
        value: quote(backend),
        allowed: [...allowed, ANY_BACKEND].join(', '),
      });
    return { backends: [chooseBackend(deps, backend)], ...ofType, isAny: false };
  }
  const [first, ...more] = allowed as BackendName[];
  if (first === undefined) throw new Error('a configuration without backends was accepted');
  // A follow is of one backend.
  if (more.length > 0 && imageId !== undefined && followNameOf(imageId) !== undefined) {
    const known = `a backend by name, of ${allowed.join(', ')}: a follow is of one backend`;
    throw new Failure('InvalidRequest', { field: 'backend', value: quote(backend), allowed: known });
  }
  return { backends: [first, ...more], ...ofType, isAny: true };
}

/** As Cinder chooses it: the request's, else the image's, else the project's or the installation's. Source: its `_get_volume_type`. */
function typeAskedFor(deps: ControlDependencies, request: Meant): string | undefined {
  const { volumeType, backend, imageType, defaultVolumeType } = request;
  const byDefault =
    backend === undefined ? (imageType ?? defaultVolumeType ?? deps.config.defaultVolumeType) : undefined;
  const asked = volumeType ?? byDefault;
  return isNoType(deps, asked) ? undefined : asked;
}

interface Wanted {
  key: CacheKey;
  volumeId: VolumeId;
  projectId: ProjectId;
  /** Of all volumes together; null where it is not known yet. */
  sizeBytes: number | null;
}

export interface Placement {
  backend: BackendName;
  /** Why it, as the end of a sentence; null where the request names it. */
  reason: string | null;
}

/**
 * Chooses one of several backends; one statement, and none where there is nothing to choose. The same request again gets the backend that it has.
 * @throws DatabaseUnavailable (retried).
 */
export async function placeVolume(
  { config, database }: ControlDependencies,
  { backends, volumeType, isAny }: Places,
  { sizeBytes, ...wanted }: Wanted,
): Promise<Placement> {
  const [first] = backends;
  if (!isAny) return { backend: first, reason: null };
  if (backends.length === 1) {
    const whose = volumeType === null ? 'there is' : `volume type ${volumeType} has`;
    return { backend: first, reason: `${first} is the only backend that ${whose}` };
  }
  const candidates = backends.map((backend) => ({
    backend,
    overSubscription: config.backends[backend]?.maxOverSubscription ?? 1,
  }));
  const views = await viewBackends(database, { ...wanted, candidates, sizeBytes: sizeBytes ?? 0 });
  return choosePlace(views) ?? { backend: first, reason: `no worker has registered any of ${backends.join(', ')} yet` };
}

/** Prefers the request's own backend, then room, then its content, then the most free space. @returns undefined when there is none to choose from. */
export function choosePlace(views: readonly BackendView[]): Placement | undefined {
  const own = views.find(({ isOwn }) => isOwn);
  if (own !== undefined)
    return { backend: own.backend, reason: own.ownPlacement ?? `this request has been on ${own.backend} before` };
  const [best] = [...views].sort((a, b) => rankOf(b) - rankOf(a) || (b.freeBytes ?? 0) - (a.freeBytes ?? 0));
  if (best === undefined) return undefined;
  return {
    backend: best.backend,
    reason: `${best.backend} was chosen of ${plural(views.length, 'backend')}: ${whyOf(best)}`,
  };
}

function rankOf({ hasRoom, isReady, isPopulating }: BackendView): number {
  return (hasRoom ? 4 : 0) + (isReady ? 2 : 0) + (isPopulating && !isReady ? 1 : 0);
}

function whyOf({ hasRoom, isReady, isPopulating, freeBytes }: BackendView): string {
  if (!hasRoom) return 'none has room for it';
  if (isReady) return 'it has the image cached';
  if (isPopulating) return 'it gets the image cached now';
  return freeBytes === null ? 'none has a known free space' : `it has the most free space, ${formatBytes(freeBytes)}`;
}
