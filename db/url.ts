import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { withSecretFiles } from '../lib/secret-files';
import { Failure } from '../workflows/contract/failures';
import { findPassword } from './password-file';

/** Where a PostgreSQL listens and who connects; an undefined field is left to the driver, which takes the user's name. */
export interface DatabaseAddress {
  /** A host name, or the absolute directory of a unix socket. */
  host: string;
  port: number;
  database?: string;
  user?: string;
  password?: string;
  tls: TlsSettings;
  applicationName?: string;
  connectTimeoutSeconds?: number;
  /** Between us and the server a PgBouncer gives each transaction another session. */
  behindPgBouncer: boolean;
}

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/** As libpq's parameters; the paths of files that are there. */
export interface TlsSettings {
  mode: (typeof sslModes)[number];
  /** `system`, and none with `verify-full`: the authorities that Node.js trusts. */
  rootCertificate?: string;
  certificate?: string;
  key?: string;
}

const parameters = [
  'host',
  'port',
  'user',
  'password',
  'dbname',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'application_name',
  'connect_timeout',
  'pgbouncer',
];
const pattern = /^postgres(?:ql)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

/**
 * Reads a connection URI as libpq does: the host may be empty or a percent-encoded socket directory, and `?host=` names
 * one. Parts that it leaves out are in libpq's variables (`PGHOST`, `PGUSER`, …), a password also in `~/.pgpass`.
 * `pgbouncer=true` is our own.
 * @throws InvalidRequest, which never repeats the URI: it may hold a password.
 */
export function parseDatabaseUrl(url: string, variables: NodeJS.ProcessEnv = process.env): DatabaseAddress {
  const env = withSecretFiles(variables, (variable, reason) => invalid(`${variable}: ${reason}`, 'a readable file'));
  const match = pattern.exec(url);
  if (!match) throw invalid('an unreadable URI', 'postgres://user:password@host:port/database');
  const [, user, password, hostAndPort = '', database, query = ''] = match;
  const options = new URLSearchParams(query);
  for (const name of options.keys())
    if (!parameters.includes(name)) throw invalid(`the parameter ${name}`, parameters.join(', '));
  const { host, port } = parseHost(hostAndPort);
  const place = {
    host: options.get('host') || host || env['PGHOST'] || 'localhost',
    port: parsePort(options.get('port') ?? port ?? (env['PGPORT'] || undefined)),
    database: options.get('dbname') ?? decoded(database) ?? (env['PGDATABASE'] || undefined),
    user: options.get('user') ?? decoded(user) ?? (env['PGUSER'] || undefined),
  };
  const said = options.get('password') ?? decoded(password) ?? (env['PGPASSWORD'] || undefined);
  return {
    ...place,
    password: said ?? findPassword(place, env),
    tls: parseTls(options, env),
    applicationName: options.get('application_name') ?? undefined,
    connectTimeoutSeconds: parseConnectTimeout(options.get('connect_timeout') ?? (env['PGCONNECT_TIMEOUT'] || null)),
    behindPgBouncer: parsePgBouncer(options.get('pgbouncer')),
  };
}

function parseHost(hostAndPort: string): { host: string; port: string | undefined } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::(\d+))?$/.exec(hostAndPort);
  if (!match) throw invalid('an unreadable host', 'host, host:port or a percent-encoded socket directory');
  return { host: (decoded(match[1]) ?? '').replace(/^\[|\]$/g, ''), port: match[2] };
}

function parsePort(port: string | undefined): number {
  const number = Number(port ?? 5432);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw invalid('a port out of range', '1 to 65535');
  return number;
}

/** By the URI, then the environment, then libpq's files in `~/.postgresql`. */
function parseTls(options: URLSearchParams, env: NodeJS.ProcessEnv): TlsSettings {
  const rootCertificate = findFile('sslrootcert', { named: options.get('sslrootcert') ?? env['PGSSLROOTCERT'], env });
  const given = options.get('sslmode') || env['PGSSLMODE'] || (rootCertificate === 'system' ? 'verify-full' : 'prefer');
  const mode = sslModes.find((candidate) => candidate === given);
  if (mode === undefined) throw invalid(`sslmode=${given}`, sslModes.join(', '));
  if (mode === 'disable') return { mode };
  if (rootCertificate === 'system' && mode !== 'verify-full')
    throw invalid(`sslrootcert=system with sslmode=${mode}`, 'sslmode=verify-full with it');
  if (rootCertificate === undefined && mode === 'verify-ca')
    throw invalid(
      'sslmode=verify-ca without a root certificate',
      'sslrootcert=PATH with it, or ~/.postgresql/root.crt',
    );
  const certificate = findFile('sslcert', { named: options.get('sslcert') ?? env['PGSSLCERT'], env });
  const key = findFile('sslkey', { named: options.get('sslkey') ?? env['PGSSLKEY'], env });
  if (certificate !== undefined && key === undefined)
    throw invalid('sslcert without a key', 'sslkey=PATH, or ~/.postgresql/postgresql.key');
  return {
    mode,
    ...(rootCertificate !== undefined && { rootCertificate }),
    ...(certificate !== undefined && { certificate, key }),
  };
}

const libpqFiles = { sslrootcert: 'root.crt', sslcert: 'postgresql.crt', sslkey: 'postgresql.key' };

/**
 * A file that is named must be there; libpq would go on without it, and a typing error would switch the check of the
 * server off.
 */
function findFile(
  parameter: keyof typeof libpqFiles,
  { named, env }: { named: string | undefined; env: NodeJS.ProcessEnv },
): string | undefined {
  if (parameter === 'sslrootcert' && named === 'system') return named;
  if (named && !existsSync(named)) throw invalid(`${parameter}=${named}`, 'the path of a file that is there');
  if (named) return named;
  const path = join(env['HOME'] || homedir(), '.postgresql', libpqFiles[parameter]);
  return existsSync(path) ? path : undefined;
}

/** Zero and less mean that there is no limit, which we do not have. */
function parseConnectTimeout(text: string | null): number | undefined {
  if (text === null) return undefined;
  const seconds = Number(text);
  if (!Number.isInteger(seconds)) throw invalid(`connect_timeout=${text}`, 'whole seconds');
  return seconds > 0 ? Math.max(2, seconds) : undefined;
}

function parsePgBouncer(text: string | null): boolean {
  if (text !== null && text !== 'true' && text !== 'false') throw invalid(`pgbouncer=${text}`, 'true or false');
  return text === 'true';
}

function decoded(part: string | undefined): string | undefined {
  if (!part) return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid('a part with a broken percent-encoding', 'percent-encoded UTF-8');
  }
}

function invalid(value: string, allowed: string): Failure<'InvalidRequest'> {
  return new Failure('InvalidRequest', { field: 'database.url', value, allowed });
}
