import { InvalidArgumentError } from 'commander';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import { cacheLimitsSchema } from '../config/schema';

type Written = keyof typeof cacheLimitsSchema.shape;

/** @returns what was collected so far and one more limit, written as in `temporal.yaml`: `maxBytes=10GiB`, `freeLowWater=5%`, `idleAge=30d`, `idleAge=off`. */
export function collectLimits(text: string, collected: Partial<CacheLimitValues> = {}): Partial<CacheLimitValues> {
  const at = text.indexOf('=');
  const name = text.slice(0, Math.max(at, 0));
  const written = text.slice(at + 1);
  if (!isLimit(name))
    throw new InvalidArgumentError(`Got ${text}, allowed is name=value with one of ${names.join(', ')}.`);
  if (name === 'idleAge' && written === 'off') return { ...collected, idleAgeMs: null };
  const parsed = cacheLimitsSchema.shape[name].safeParse(valueOf(written));
  if (!parsed.success) {
    const allowed = parsed.error.issues[0]?.message ?? 'another value';
    throw new InvalidArgumentError(`${name}: got ${written === '' ? 'nothing' : written}, allowed is ${allowed}.`);
  }
  return { ...collected, [name === 'idleAge' ? 'idleAgeMs' : name]: parsed.data };
}

const names = Object.keys(cacheLimitsSchema.shape) as Written[];

function isLimit(name: string): name is Written {
  return names.some((known) => known === name);
}

/** As YAML would read it. */
function valueOf(written: string): string | number | boolean {
  if (written === 'true' || written === 'false') return written === 'true';
  return /^\d+$/.test(written) ? Number(written) : written;
}
