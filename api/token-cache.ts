import { createHash } from 'node:crypto';
import type { TokenValidation } from '../activities/keystone/validate-token';
import type { Secret } from '../lib/secret';

/** Tokens that are known at once. */
const MOST_TOKENS = 10_000;

type Answer = TokenValidation | 'invalid';

/** Remembers who a valid token's caller is, by the token's hash, until `cacheMs` or the token's own end: revoked, it may be taken so long. */
export function createTokenCache(ask: (token: Secret) => Promise<Answer>, { cacheMs }: { cacheMs: number }) {
  const known = new Map<string, { answer: TokenValidation; untilMs: number }>();
  const asked = new Map<string, Promise<Answer>>();

  async function askOnce(key: string, token: Secret): Promise<Answer> {
    const answer = await ask(token);
    if (answer === 'invalid') return answer;
    const [oldest] = known.size >= MOST_TOKENS ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    known.set(key, { answer, untilMs: Math.min(Date.now() + cacheMs, answer.expiresAtMs) });
    return answer;
  }

  return {
    /** Callers with one token that come at once share one question. */
    async validate(token: Secret): Promise<Answer> {
      const key = createHash('sha256').update(token.reveal()).digest('base64');
      const found = known.get(key);
      if (found !== undefined && Date.now() < found.untilMs) return found.answer;
      known.delete(key);
      const running = asked.get(key) ?? askOnce(key, token).finally(() => asked.delete(key));
      asked.set(key, running);
      return await running;
    },
  };
}
