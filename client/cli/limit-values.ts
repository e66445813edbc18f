import { InvalidArgumentError } from 'commander';
import { describeAllowed } from '../../lib/issue-words';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import { cacheLimitsSchema } from '../config/schema';

type WrittenLimit = keyof typeof cacheLimitsSchema.shape;

/**
 * @returns a limit that is written as in `temporal.yaml`: `maxBytes=10GiB`, `freeLowWater=5%`, `idleAge=30d`,
 * `idleAge=off`.
 */
export function parseLimit(text: string): Partial<CacheLimitValues> {
  const at = text.indexOf('=');
  const name = text.slice(0, Math.max(at, 0));
  const written = text.slice(at + 1);
  if (!isLimit(name))
    throw new InvalidArgumentError(`Got ${text}, allowed is name=value with one of ${limitNames.join(', ')}.`);
  if (name === 'idleAge' && written === 'off') return { idleAgeMs: null };
  const parsed = cacheLimitsSchema.shape[name].safeParse(valueOf(written), { error: describeAllowed });
  if (!parsed.success) {
    const allowed = parsed.error.issues[0]?.message ?? 'another value';
    throw new InvalidArgumentError(`${name}: got ${written === '' ? 'nothing' : written}, allowed is ${allowed}.`);
  }
  return { [name === 'idleAge' ? 'idleAgeMs' : name]: parsed.data };
}

const limitNames = Object.keys(cacheLimitsSchema.shape) as WrittenLimit[];

function isLimit(name: string): name is WrittenLimit {
  return limitNames.some((known) => known === name);
}

/** As YAML would read it. */
function valueOf(written: string): string | number | boolean {
  if (written === 'true' || written === 'false') return written === 'true';
  return /^\d+$/.test(written) ? Number(written) : written;
}
