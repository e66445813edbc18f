import { uuidPattern, type InstallationId } from '../workflows/contract/ids';
import { quote } from '../workflows/contract/words';

/** An operator's word, for one start, about something that was lost for good. */
export interface OperatorWords {
  /** `IVC_LOST_PLACE`: id of a backend's place; an empty one may replace it. It is void as soon as one has. */
  lostPlace?: string;
  /** `IVC_INSTALLATION`: an empty database becomes the inventory of this installation again. */
  installation?: InstallationId;
  /**
   * `IVC_MOVED_NAMESPACE`: the Temporal namespace that the inventory is moved away from. It is void as soon as that is
   * done.
   */
  movedNamespace?: string;
}

/** @throws Error which names the variable, what it has and what is allowed. */
export function readOperatorWords(env: NodeJS.ProcessEnv): OperatorWords {
  return {
    lostPlace: readUuid(env, 'IVC_LOST_PLACE', 'the id of a place, which the refusal names'),
    installation: readUuid(env, 'IVC_INSTALLATION', 'the id of an installation, which a backend’s marker names') as
      InstallationId | undefined,
    movedNamespace: env['IVC_MOVED_NAMESPACE'] === '' ? undefined : env['IVC_MOVED_NAMESPACE'],
  };
}

function readUuid(env: NodeJS.ProcessEnv, variable: string, allowed: string): string | undefined {
  const text = env[variable];
  if (text === undefined || text === '') return undefined;
  if (uuidPattern.test(text)) return text;
  throw new Error(`${variable}: got ${quote(text)}, allowed is ${allowed} (a UUID in lower case)`);
}
