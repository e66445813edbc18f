import type { FastifyRequest } from 'fastify';
import { v5 as uuidV5 } from 'uuid';
import type { VolumeType } from '../client/records';
import type { ProjectId } from '../workflows/contract/ids';
import { NO_TYPE } from '../workflows/contract/volume-type';
import type { ApiContext } from './api-context';
import { isAdmin } from './caller';

/** Namespace of the ids of types that the configuration has, which are made from their names (RFC 9562, version 5). */
const CONFIGURED_NAMESPACE = '5a0f7d8e-2f4e-4c0b-9a39-1f7c9e1d2b64';

/** Made once: a list of volumes asks for each of them, and a configuration has a few. */
const configuredIds = new Map<string, string>();

function configuredId(name: string): string {
  const id = configuredIds.get(name) ?? uuidV5(name, CONFIGURED_NAMESPACE);
  configuredIds.set(name, id);
  return id;
}

export interface ListedType extends VolumeType {
  /** Whether it is the configuration's, which no request changes. */
  isConfigured: boolean;
}

/** @returns all volume types: those of the configuration, then those that administrators have made. */
export async function listTypes({ cache }: ApiContext): Promise<ListedType[]> {
  const { volumeTypes, defaultVolumeType } = cache.settings.loaded.config;
  const unnamed = defaultVolumeType === undefined ? [configuredType(NO_TYPE, { extraSpecs: {} })] : [];
  const configured = Object.entries(volumeTypes).map(([name, type]) => configuredType(name, type));
  const made = await (await cache.inventory()).listVolumeTypes();
  return [...unnamed, ...configured, ...made.map((type) => ({ ...type, isConfigured: false }))];
}

function configuredType(name: string, { description = null, extraSpecs, projects }: ConfiguredType): ListedType {
  return {
    volumeTypeId: configuredId(name),
    name,
    description,
    isPublic: projects === undefined,
    extraSpecs,
    projects: (projects ?? []) as ProjectId[],
    encryption: null,
    isConfigured: true,
  };
}

interface ConfiguredType {
  description?: string | null;
  extraSpecs: Record<string, string>;
  projects?: string[];
}

/** @returns those that a caller may use: an administrator all. */
export async function listVisibleTypes(request: FastifyRequest, context: ApiContext): Promise<ListedType[]> {
  const { caller } = request;
  const isVisible = ({ isPublic, projects }: ListedType) =>
    isPublic || isAdmin(caller) || projects.includes(caller.projectId);
  return (await listTypes(context)).filter(isVisible);
}

/** @param called an id or a name. @returns undefined for what is not there, and for what the caller may not use. */
export async function visibleType(
  request: FastifyRequest,
  context: ApiContext,
  called: string,
): Promise<ListedType | undefined> {
  const types = await listVisibleTypes(request, context);
  return types.find(({ volumeTypeId }) => volumeTypeId === called) ?? types.find(({ name }) => name === called);
}

/** The name of the type of volumes that ask for none. */
export function defaultTypeName({ cache }: ApiContext): string {
  return cache.settings.loaded.config.defaultVolumeType ?? NO_TYPE;
}

/** @returns the type that a project has as its default; undefined: nobody has said one, and the installation's counts. */
export async function defaultTypeOf(context: ApiContext, projectId: ProjectId): Promise<ListedType | undefined> {
  const [found] = await (await context.cache.inventory()).listDefaultTypes({ projectId });
  if (found === undefined) return undefined;
  return (await listTypes(context)).find(({ volumeTypeId }) => volumeTypeId === found.volumeTypeId);
}

/** @returns what the view of a volume says of its type. */
export function typeOfVolume({ volumeType, volumeTypeId }: { volumeType: string | null; volumeTypeId: string | null }) {
  const name = volumeType ?? NO_TYPE;
  return { name, id: volumeTypeId ?? configuredId(name) };
}

/** @returns the names of all volume types. */
export async function volumeTypeNames(context: ApiContext): Promise<string[]> {
  return (await listTypes(context)).map(({ name }) => name);
}
