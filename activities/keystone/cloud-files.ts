import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { hasCode } from '../../lib/errno';
import { Failure } from '../../workflows/contract/failures';
import { isRecord } from '../../workflows/contract/is-record';

/** One cloud of `clouds.yaml`, or a part of it; names of keys have `_` for `-`. */
export type CloudEntry = Record<string, unknown>;

export interface CloudFiles {
  /** By name; `secure.yaml` is laid over `clouds.yaml`. */
  clouds: Record<string, CloudEntry>;
  /** Of `clouds-public.yaml`, by the name of the profile. */
  profiles: Record<string, CloudEntry>;
  /** The `clouds.yaml` that was read; undefined where there is none. */
  path: string | undefined;
  /** Where it is looked for. */
  searched: string[];
}

const SUFFIXES = ['.yaml', '.yml', '.json'];

/**
 * Reads `clouds.yaml`, `secure.yaml` and `clouds-public.yaml`, each from the first place that has it, as openstacksdk does: the file that
 * `OS_CLIENT_CONFIG_FILE` (`OS_CLIENT_SECURE_FILE`) names, the working directory, the user's configuration, the machine's.
 * @throws Failure InvalidRequest for a file that is no YAML.
 */
export function readCloudFiles(env: NodeJS.ProcessEnv): CloudFiles {
  const searched = candidates('clouds', env['OS_CLIENT_CONFIG_FILE'], env);
  const clouds = readFirst(searched);
  const secure = readFirst(candidates('secure', env['OS_CLIENT_SECURE_FILE'], env));
  const profiles = readFirst(candidates('clouds-public', undefined, env));
  return {
    clouds: entriesOf(mergeEntries(sectionOf(clouds, 'clouds'), sectionOf(secure, 'clouds'))),
    profiles: entriesOf(sectionOf(profiles, 'public-clouds')),
    path: clouds?.path,
    searched,
  };
}

/** @returns `over` laid over `under`, section by section. */
export function mergeEntries(under: CloudEntry, over: CloudEntry): CloudEntry {
  const merged = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isRecord(value) && isRecord(below) ? mergeEntries(below, value) : value;
  }
  return merged;
}

function candidates(name: string, named: string | undefined, env: NodeJS.ProcessEnv): string[] {
  const home = env['HOME'] || homedir();
  const directories = [
    process.cwd(),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'openstack'),
    join(env['SNAP_REAL_HOME'] || home, '.config/openstack'),
    ...(env['XDG_CONFIG_DIRS'] || '/etc/xdg').split(':').map((directory) => join(directory, 'openstack')),
    '/etc/openstack',
  ];
  const found = directories.flatMap((directory) => SUFFIXES.map((suffix) => join(directory, `${name}${suffix}`)));
  return [...new Set(named ? [named, ...found] : found)];
}

interface ReadFile {
  path: string;
  content: unknown;
}

/** A file that may not be read is passed over. */
function readFirst(paths: readonly string[]): ReadFile | undefined {
  for (const path of paths) {
    const text = readText(path);
    if (text !== undefined) return { path, content: parse(path, text) };
  }
  return undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES', 'ENOTDIR', 'EISDIR')) return undefined;
    throw error;
  }
}

/** The parser's own message would quote the line, and with it perhaps a password. */
function parse(path: string, text: string): unknown {
  const document = parseDocument(text, { version: '1.1', prettyErrors: false });
  const [error] = document.errors;
  if (error === undefined) return withUnderscores(document.toJS());
  const line = text.slice(0, error.pos[0]).split('\n').length;
  throw new Failure('InvalidRequest', { field: path, value: `${error.code} in line ${line}`, allowed: 'YAML' });
}

/** Names of clouds and regions are values and stay as they are; keys of sections may be written either way. */
function withUnderscores(content: unknown): unknown {
  if (!isRecord(content)) return content;
  const normalized = Object.entries(content).map(([section, clouds]) => [
    section,
    isRecord(clouds) ? mapValues(clouds, normalizeKeys) : clouds,
  ]);
  return Object.fromEntries(normalized);
}

function normalizeKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalizeKeys);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key.replaceAll('-', '_'), normalizeKeys(inner)]),
  );
}

function mapValues(record: Record<string, unknown>, change: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function sectionOf(file: ReadFile | undefined, section: string): CloudEntry {
  const found = isRecord(file?.content) ? (file.content[section] ?? {}) : {};
  if (!isRecord(found))
    throw new Failure('InvalidRequest', {
      field: `${section} of ${file?.path}`,
      value: typeof found,
      allowed: 'a section with one key for each cloud',
    });
  return found;
}

function entriesOf(section: CloudEntry): Record<string, CloudEntry> {
  return Object.fromEntries(Object.entries(section).map(([name, entry]) => [name, isRecord(entry) ? entry : {}]));
}
