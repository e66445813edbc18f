import { setTimeout as delay } from 'node:timers/promises';
import type { Secret } from '../../lib/secret';
import type { Session } from './authenticate';

export interface TokenSource {
  /**
   * @param rejected the token that a service has answered 401 to: another one is given, asked for once however many callers come with it.
   * @throws what authentication throws.
   */
  session(rejected?: Secret): Promise<Session>;
}

/** A token is renewed when a fifth of its life is left, and at most so long before its end; until then it is used while it is. */
const RENEW_SHARE = 0.2;
const RENEW_BEFORE_MS = 300_000;
/** A request needs some of a token's life to arrive. */
const SPENT_SHARE = 0.05;
const SPENT_BEFORE_MS = 10_000;
/** A service that rejects every token does not have us ask for tokens without a pause. */
const RENEWALS_APART_MS = 1_000;

interface Held {
  session: Session;
  /** By the monotonic clock. */
  askedAtMs: number;
}

/** Holds one token in memory; `authenticate` runs once at a time. */
export function createTokenSource(authenticate: () => Promise<Session>): TokenSource {
  let held: Held | undefined;
  let pending: Promise<Session> | undefined;
  let triedAtMs = -Infinity;

  const leftMs = ({ session, askedAtMs }: Held): number => session.lifeMs - (performance.now() - askedAtMs);
  const isSpent = (of: Held): boolean => leftMs(of) <= Math.min(of.session.lifeMs * SPENT_SHARE, SPENT_BEFORE_MS);
  const isOld = (of: Held): boolean => leftMs(of) <= Math.min(of.session.lifeMs * RENEW_SHARE, RENEW_BEFORE_MS);

  async function renew(): Promise<Session> {
    await delay(Math.max(triedAtMs + RENEWALS_APART_MS - performance.now(), 0));
    const askedAtMs = performance.now();
    triedAtMs = askedAtMs;
    const session = await authenticate();
    held = { session, askedAtMs };
    return session;
  }

  const renewOnce = (): Promise<Session> => {
    pending ??= renew().finally(() => (pending = undefined));
    return pending;
  };

  return {
    async session(rejected) {
      if (held !== undefined && held.session.token === rejected) held = undefined;
      if (held === undefined || isSpent(held)) return await renewOnce();
      // A caller that fails to renew it early has not lost anything: the next one tries again.
      if (isOld(held)) renewOnce().catch(() => undefined);
      return held.session;
    },
  };
}
