import { Failure } from '../workflows/contract/failures';

/** Where a PostgreSQL listens and who connects; what is undefined is left to libpq's environment variables (`PGUSER`, …). */
export interface DatabaseAddress {
  /** A host name, or the absolute directory of a unix socket. */
  host: string;
  port: number;
  database?: string;
  user?: string;
  password?: string;
  ssl: false | 'require' | 'prefer' | 'verify-full';
  applicationName?: string;
}

const sslModes = ['disable', 'prefer', 'require', 'verify-full'] as const;
const parameters = ['host', 'port', 'user', 'password', 'dbname', 'sslmode', 'application_name', 'connect_timeout'];
const pattern = /^postgres(?:ql)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

/**
 * Reads a connection URI as libpq does: the host may be empty or a percent-encoded socket directory, and `?host=` names one.
 * @throws InvalidRequest, which never repeats the URI: it may hold a password.
 */
export function parseDatabaseUrl(url: string): DatabaseAddress {
  const match = pattern.exec(url);
  if (!match) throw invalid('an unreadable URI', 'postgres://user:password@host:port/database');
  const [, user, password, hostAndPort = '', database, query = ''] = match;
  const options = new URLSearchParams(query);
  for (const name of options.keys())
    if (!parameters.includes(name)) throw invalid(`the parameter ${name}`, parameters.join(', '));
  const { host, port } = parseHost(hostAndPort);
  return {
    host: options.get('host') ?? (host || 'localhost'),
    port: parsePort(options.get('port') ?? port),
    database: options.get('dbname') ?? decoded(database),
    user: options.get('user') ?? decoded(user),
    password: options.get('password') ?? decoded(password),
    ssl: parseSslMode(options.get('sslmode')),
    applicationName: options.get('application_name') ?? undefined,
  };
}

/** @returns the URI of another database on the same server, for the same user. */
export function withDatabaseName(url: string, database: string): string {
  const match = pattern.exec(url);
  if (!match) throw invalid('an unreadable URI', 'postgres://user:password@host:port/database');
  const [, user, password, hostAndPort = '', , query] = match;
  const credentials = user === undefined ? '' : `${user}${password === undefined ? '' : `:${password}`}@`;
  return `postgres://${credentials}${hostAndPort}/${encodeURIComponent(database)}${query === undefined ? '' : `?${query}`}`;
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

function parseSslMode(mode: string | null): DatabaseAddress['ssl'] {
  const known = sslModes.find((candidate) => candidate === (mode ?? 'disable'));
  if (known === undefined) throw invalid(`sslmode=${mode}`, sslModes.join(', '));
  return known === 'disable' ? false : known;
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
