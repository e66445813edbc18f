import { readFileSync } from 'node:fs';
import { Failure } from '../../workflows/contract/failures';
import { errorMessage } from '../../lib/error-message';

/** Where Cinder's database is, as `[database] connection` of its configuration says. */
export interface CinderUrl {
  dialect: 'mysql' | 'postgres';
  host: string;
  /** Undefined: the dialect's. */
  port?: number;
  /** Absolute path of a unix socket, in place of host and port. */
  socketPath?: string;
  user: string;
  password?: string;
  database: string;
  tls?: { ca?: string; cert?: string; key?: string };
}

const pattern =
  /^(mysql|mariadb|postgres|postgresql)(?:\+\w+)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[0-9a-f:.]+\]|[^:/?#[\]]*)(?::(\d{1,5}))?\/([^/?#]+)(?:\?([^#]*))?$/i;
const schemePattern = /^([A-Za-z][\w+.-]*):/;
/** Of SQLAlchemy's MySQL drivers; `charset` and `plugin` are those drivers' own matter. */
const mysqlParameters = ['unix_socket', 'ssl_ca', 'ssl_cert', 'ssl_key', 'charset', 'plugin'];
const postgresParameters = ['host', 'sslmode', 'sslrootcert'];
const ALLOWED = 'mysql://user:password@host:port/cinder or postgresql://user:password@host:port/cinder';

/**
 * Reads a URL as SQLAlchemy does: `mysql+pymysql://` is `mysql://`, and what its drivers alone heed is left out.
 * @throws InvalidRequest, which never repeats the URL: it may hold a password.
 */
export function parseCinderUrl(url: string): CinderUrl {
  const scheme = schemePattern.exec(url)?.[1] ?? '';
  if (!/^(?:mysql|mariadb|postgres|postgresql)(?:\+\w+)?$/i.test(scheme))
    throw invalid(scheme === '' ? 'no URL' : `the scheme ${scheme}`, ALLOWED);
  const match = pattern.exec(url);
  if (match === null) throw invalid('an unreadable URL', ALLOWED);
  const [, named = '', user, password, host = '', port, database = '', query = ''] = match;
  const dialect = named.toLowerCase().startsWith('postgres') ? 'postgres' : 'mysql';
  const options = new URLSearchParams(query);
  const known = dialect === 'mysql' ? mysqlParameters : postgresParameters;
  for (const name of options.keys())
    if (!known.includes(name)) throw invalid(`the parameter ${name}`, known.join(', '));
  const secret = decoded(password);
  const socketPath = options.get('unix_socket') ?? undefined;
  const tls = dialect === 'mysql' ? mysqlTls(options) : postgresTls(options);
  return {
    dialect,
    host: options.get('host') ?? (host.replaceAll(/[[\]]/g, '') || 'localhost'),
    user: decoded(user) ?? 'cinder',
    database: decoded(database) ?? '',
    ...(port !== undefined && { port: Number(port) }),
    ...(socketPath !== undefined && { socketPath }),
    ...(secret !== undefined && { password: secret }),
    ...(tls !== undefined && { tls }),
  };
}

/** @returns the database for people, and for the record: without a password. */
export function describeCinderUrl({ dialect, host, port, socketPath, database }: CinderUrl): string {
  const place = socketPath ?? (port === undefined ? host : `${host}:${port}`);
  return `${dialect}://${place}/${database}`;
}

function mysqlTls(options: URLSearchParams): CinderUrl['tls'] {
  const [ca, cert, key] = ['ssl_ca', 'ssl_cert', 'ssl_key'].map((name) => readNamed(options, name));
  return [ca, cert, key].every((file) => file === undefined) ? undefined : { ca, cert, key };
}

function postgresTls(options: URLSearchParams): CinderUrl['tls'] {
  const mode = options.get('sslmode') ?? 'disable';
  if (mode === 'disable' || mode === 'prefer' || mode === 'allow') return undefined;
  if (mode !== 'verify-full')
    throw invalid(`sslmode=${mode}`, 'disable, or verify-full with sslrootcert: an unverified server protects nothing');
  return { ca: readNamed(options, 'sslrootcert') };
}

function readNamed(options: URLSearchParams, name: string): string | undefined {
  const path = options.get(name);
  if (path === null) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw invalid(`${name}: ${errorMessage(error)}`, 'the path of a file that can be read');
  }
}

function decoded(part: string | undefined): string | undefined {
  if (part === undefined || part === '') return undefined;
  try {
    return decodeURIComponent(part.replaceAll('+', ' '));
  } catch {
    throw invalid('a part with a broken percent-encoding', 'percent-encoded UTF-8');
  }
}

function invalid(value: string, allowed: string): Failure<'InvalidRequest'> {
  return new Failure('InvalidRequest', { field: 'database', value, allowed });
}
