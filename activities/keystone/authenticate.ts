import type { z } from 'zod';
import { parseJson } from '../../lib/json';
import { describeFirstIssue } from '../../lib/issue-words';
import type { Secret } from '../../lib/secret';
import { Failure } from '../../workflows/contract/failures';
import type { CloudSettings, Credentials, Named, Scope } from './cloud-settings';
import type { ServiceAnswer, ServiceRequests } from './requests';
import { errorSchema, subjectTokenSchema, tokenSchema, type TokenBody } from './schema';

/** A token, and what Keystone says of it. */
export interface Session {
  token: Secret;
  /** From its issue to its end; by Keystone's own clock, so that ours does not matter. Infinity: it has no end. */
  lifeMs: number;
  body: TokenBody;
  /** Milliseconds that Keystone's clock is ahead of ours; undefined where it does not say. */
  clockAheadMs: number | undefined;
}

/** The part of a cloud's settings that is sent. */
export type Account = Pick<CloudSettings, 'credentials' | 'scope'>;

/** `POST /v3/auth/tokens`. @throws Failure CredentialsRefused, IdentityUnavailable (retried). */
export async function authenticate(requests: ServiceRequests, account: Account): Promise<Session> {
  const body = JSON.stringify({ auth: { identity: identityOf(account.credentials), scope: scopeOf(account.scope) } });
  const answer = await requests.exchange({ method: 'POST', path: '/auth/tokens', body });
  if (answer.status !== 201) throw refusalOf(requests.service, answer, account);
  const token = parseKeystone(requests, subjectTokenSchema, answer.headers['x-subject-token']);
  const { token: described } = parseKeystone(requests, tokenSchema, parseJson(answer.text));
  const { issued_at: issuedAtMs, expires_at: expiresAtMs } = described;
  return {
    token,
    lifeMs: expiresAtMs === null ? Infinity : expiresAtMs - issuedAtMs,
    body: described,
    clockAheadMs: parseClockAhead(answer),
  };
}

function identityOf(credentials: Credentials): object {
  const secret = credentials.secret.reveal();
  switch (credentials.kind) {
    case 'password':
      return { methods: ['password'], password: { user: { ...named(credentials.user), password: secret } } };
    case 'token':
      return { methods: ['token'], token: { id: secret } };
    case 'application-credential': {
      const { credential } = credentials;
      const who = 'id' in credential ? credential : { name: credential.name, user: named(credential.user) };
      return { methods: ['application_credential'], application_credential: { ...who, secret } };
    }
  }
}

function scopeOf(scope: Scope | undefined): object | undefined {
  if (scope === undefined) return undefined;
  if ('project' in scope) return { project: named(scope.project) };
  if ('trustId' in scope) return { 'OS-TRUST:trust': { id: scope.trustId } };
  return 'system' in scope ? { system: { all: true } } : scope;
}

function named(who: Named): object {
  return 'id' in who ? { id: who.id } : { name: who.name, domain: who.domain };
}

function refusalOf(service: string, { status, text }: ServiceAnswer, { credentials }: Account): Failure {
  const said = errorSchema.safeParse(parseJson(text));
  const message = said.success ? credentials.secret.removeFrom(said.data.error.message).slice(0, MESSAGE_LENGTH) : '';
  const cause = message === '' ? `it answers ${status}` : `it answers ${status}: ${message}`;
  if (status === 401 || status === 403)
    return new Failure('CredentialsRefused', { service, account: accountOf(credentials), cause });
  return new Failure('IdentityUnavailable', { service, cause });
}

const MESSAGE_LENGTH = 300;

/** @returns who asked, for messages. */
function accountOf(credentials: Credentials): string {
  switch (credentials.kind) {
    case 'password':
      return `user ${labelOf(credentials.user)}`;
    case 'token':
      return 'the configured token';
    case 'application-credential':
      return `application credential ${labelOf(credentials.credential)}`;
  }
}

function labelOf(who: { id: string } | { name: string }): string {
  return 'id' in who ? who.id : who.name;
}

/** Its `Date` has whole seconds, and the answer was on its way. */
function parseClockAhead({ headers: { date } }: ServiceAnswer): number | undefined {
  const aheadMs = typeof date === 'string' ? Date.parse(date) - Date.now() : NaN;
  return Number.isFinite(aheadMs) ? aheadMs : undefined;
}

/** A value that does not fit is not shown: it may be the token. */
export function parseKeystone<Schema extends z.ZodType>(
  { service }: Pick<ServiceRequests, 'service'>,
  schema: Schema,
  value: unknown,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const cause = `its answer is none of v3: ${describeFirstIssue(parsed.error)}`;
  throw new Failure('IdentityUnavailable', { service, cause });
}
