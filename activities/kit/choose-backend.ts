import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/** @returns the backend that a request names, else the default one. @throws InvalidRequest (final). */
export function chooseBackend(
  { config }: Pick<ControlDependencies, 'config'>,
  given: string | undefined,
  field = 'backend',
): BackendName {
  const known = Object.keys(config.backends);
  const name = given ?? config.defaultBackend ?? known[0];
  if (name === undefined || !known.includes(name))
    throw new Failure('InvalidRequest', { field, value: JSON.stringify(given), allowed: known.join(', ') });
  return name as BackendName;
}
