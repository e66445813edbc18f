import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Volume } from '../../client/records';
import type { ApiContext } from '../api-context';
import { checkInput } from '../validation';

/** The arguments of an action. */
export interface ActionCall<Input> {
  request: FastifyRequest;
  context: ApiContext;
  volume: Volume;
  input: Input;
}

/** The body of an action's answer; undefined: none. */
export type ActionAnswer = object | undefined | void;

/** An action of volumes, as `POST volumes/{id}/action` calls it by its name. */
export interface VolumeAction {
  /** The minor version that it came with. */
  since: number;
  /** Whether it is for administrators alone. */
  ofAdministrators: boolean;
  /** Of its success. */
  status: number;
  /** @param given its value in the body. @throws ApiError 400 where that does not fit. */
  prepare(given: unknown): (call: Omit<ActionCall<unknown>, 'input'>) => Promise<ActionAnswer>;
}

/** @param schema of its value in the body. */
export function volumeAction<Schema extends z.ZodType>({
  schema,
  run,
  since = 0,
  ofAdministrators = false,
  status = 202,
}: Partial<Pick<VolumeAction, 'since' | 'ofAdministrators' | 'status'>> & {
  schema: Schema;
  run: (call: ActionCall<z.output<Schema>>) => Promise<ActionAnswer>;
}): VolumeAction {
  return {
    since,
    ofAdministrators,
    status,
    prepare: (given) => {
      const input = checkInput(schema, given);
      return async (call) => await run({ ...call, input });
    },
  };
}
