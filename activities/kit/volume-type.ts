import { findVolumeType } from '../../db/volume-types';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId } from '../../workflows/contract/ids';
import { poolCapabilitiesOf, type PoolCapabilities } from '../../workflows/contract/pool-capabilities';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import { quote } from '../../workflows/contract/words';
import type { ControlDependencies } from '../dependencies';

/** Whether this is Cinder's name for having no type, which the configuration may give to one of its own. */
export function isNoType({ config }: Pick<ControlDependencies, 'config'>, called: string | undefined): boolean {
  return called === NO_TYPE && !Object.hasOwn(config.volumeTypes, NO_TYPE);
}

/** Values that a volume has of its type. */
export interface ResolvedType {
  name: string;
  /** Null: it is the configuration's. */
  id: string | null;
  /** Those that it allows. */
  backends: string[];
  multiattach: boolean;
}

/**
 * @param called a name, or the id of one that administrators have made; the configuration's come first.
 * @throws VolumeTypeNotFound, one and the same for what is not there and for what is not this project's; InvalidRequest, NoBackendFits (final).
 */
export async function resolveVolumeType(
  { config, database }: Pick<ControlDependencies, 'config' | 'database'>,
  called: string,
  projectId: ProjectId,
): Promise<ResolvedType> {
  const all = Object.keys(config.backends);
  const configured = Object.hasOwn(config.volumeTypes, called) ? config.volumeTypes[called] : undefined;
  const made = configured === undefined ? await findVolumeType(database, called) : undefined;
  const isOpen = made === undefined || made.isPublic || made.projects.includes(projectId);
  if ((configured ?? made) === undefined || !isOpen || configured?.projects?.includes(projectId) === false)
    throw new Failure('VolumeTypeNotFound', { volumeType: called });
  if (made === undefined)
    return { name: called, id: null, backends: configured?.backends ?? all, multiattach: isMultiattach(configured) };
  const field = 'volumeType';
  if (made.encryption !== null)
    throw new Failure('InvalidRequest', { field, value: quote(made.name), allowed: 'a type without encryption' });
  const backends = all.filter((backend) =>
    fits(made.extraSpecs, poolCapabilitiesOf(backend, config.backends[backend]?.driver ?? '')),
  );
  if (backends.length === 0) throw new Failure('NoBackendFits', { volumeType: made.name });
  return { name: made.name, id: made.id, backends, multiattach: isMultiattach(made) };
}

function isMultiattach(type: { extraSpecs: Record<string, string> } | undefined): boolean {
  return /^<is>\s*true$/i.test(type?.extraSpecs['multiattach'] ?? '');
}

/** Whether a pool has all that extra specs ask for. Keys of other scopes than `capabilities` are not about pools. Source: Cinder's `CapabilitiesFilter`. */
function fits(extraSpecs: Record<string, string>, pool: PoolCapabilities): boolean {
  return Object.entries(extraSpecs).every(([key, wanted]) => {
    const [scope, ...rest] = key.split(':');
    if (rest.length > 0 && scope !== 'capabilities') return true;
    const name = rest.length > 0 ? rest.join(':') : key;
    const has = new Map<string, string | boolean>(Object.entries(pool)).get(name);
    return has !== undefined && isWanted(String(has), wanted);
  });
}

/** `<is> True`, `<in> text`, `<or> a <or> b`, or the value itself. Source: `oslo_utils.specs_matcher`. */
function isWanted(has: string, wanted: string): boolean {
  const [operator = '', ...operands] = wanted.trim().split(/\s+/);
  const operand = operands.join(' ');
  switch (operator) {
    case '<is>':
      return has.toLowerCase() === operand.toLowerCase();
    case '<in>':
      return has.includes(operand);
    case '<or>':
      return wanted
        .split('<or>')
        .map((one) => one.trim())
        .includes(has);
    default:
      return has.toLowerCase() === wanted.trim().toLowerCase();
  }
}
