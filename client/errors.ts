import {
  Failure,
  failures,
  isFailureType,
  publicMessage,
  type FailureDetails,
  type FailureType,
} from '../workflows/contract/failures';

/** Exit codes of the command line. 4, an image is refused, comes from the failures' table. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  imageRefused: 4,
  unavailable: 5,
  interrupted: 130,
} as const;

/** Failures of the library beside those of the table: of the connection, and by the caller itself. */
export const clientFailures = {
  TemporalUnavailable: { exitCode: exitCodes.unavailable },
  /** A part that the call needs, such as the inventory's database, is not configured. */
  NotConfigured: { exitCode: exitCodes.unavailable },
  /** The inventory is that of another version of this program, and lacks what this one asks for. */
  OtherVersion: { exitCode: exitCodes.unavailable },
  /** The database of a Cinder whose volumes are to be taken over. */
  CinderUnavailable: { exitCode: exitCodes.unavailable },
  /** Its services would go on changing what is taken over. */
  CinderRunning: { exitCode: exitCodes.failed },
  WorkflowNotFound: { exitCode: exitCodes.notFound },
  EntryNotFound: { exitCode: exitCodes.notFound },
  Terminated: { exitCode: exitCodes.failed },
  /** The caller stopped waiting; the work goes on. */
  WaitInterrupted: { exitCode: exitCodes.interrupted },
  Unexpected: { exitCode: exitCodes.failed },
} as const;
export type ClientFailureType = keyof typeof clientFailures;

export type ErrorType = FailureType | ClientFailureType;

interface ErrorFields {
  type: ErrorType;
  message: string;
  details?: Record<string, unknown>;
  workflowId?: string;
  cause?: unknown;
}

/**
 * The one error of this library: `type` tells a program what happened, `message` a person; the message is safe to show
 * to the user who asked.
 */
export class ImageVolumeCacheError extends Error {
  override readonly name = 'ImageVolumeCacheError';
  readonly type: ErrorType;
  readonly details: Record<string, unknown>;
  /** The exit code of the command line. */
  readonly exitCode: number;
  readonly workflowId: string | undefined;

  constructor({ type, message, details = {}, workflowId, cause }: ErrorFields) {
    super(message, { cause });
    this.type = type;
    this.details = details;
    this.exitCode = isFailureType(type) ? failures[type].exitCode : clientFailures[type].exitCode;
    this.workflowId = workflowId;
  }
}

/** @returns a failure of the table as the library's error. */
export function failureError<Type extends FailureType>(
  type: Type,
  details: FailureDetails[Type],
): ImageVolumeCacheError {
  return new ImageVolumeCacheError({ type, message: publicMessage(type, details), details: { ...details } });
}

/** @returns a failure of code that runs in this process as the library's error; anything else stays as it is. */
export function toClientError(error: unknown): unknown {
  if (!(error instanceof Failure)) return error;
  const { type, message, details } = error;
  return new ImageVolumeCacheError({ type, message, details: { ...details }, cause: error });
}

/** @throws what `call` throws, as the library's error. */
export async function asClientErrors<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw toClientError(error);
  }
}
