import { clearRefusal } from '../../db/refusals';
import type { BackendName } from '../../workflows/contract/ids';
import { describeAmbiguity } from '../../workflows/contract/key-prefix';
import type { ControlDependencies } from '../dependencies';
import { ANONYMOUS, type ChangeOutcome } from './apply-pin';
import { checkNotLate } from './check-not-late';

export interface ForgetRefusalRequest {
  backend: BackendName;
  /** The short key of the refused bytes, or its beginning. */
  cacheKey: string;
  by?: string;
}

/** Lets the next create of these bytes ask them again. Idempotent. */
export function createApplyForgetRefusal(deps: ControlDependencies) {
  return async function applyForgetRefusal({
    backend,
    cacheKey,
    by = ANONYMOUS,
  }: ForgetRefusalRequest): Promise<ChangeOutcome> {
    await checkNotLate(deps);
    const keys = await clearRefusal(deps.database, { backend, cacheKey });
    const [key] = keys;
    if (key === undefined)
      return { outcome: 'nothing-to-do', summary: `backend ${backend} remembers no refusal of a key ${cacheKey}` };
    if (keys.length > 1) return { outcome: 'refused', summary: describeAmbiguity(cacheKey, keys) };
    return {
      outcome: 'done',
      summary: `the refusal of key ${key} was forgotten by ${by}: the next create asks its bytes`,
    };
  };
}
