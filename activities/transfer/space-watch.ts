import { Failure } from '../../workflows/contract/failures';
import type { VolumeBackend } from '../backends/backend';

/** Milliseconds between two looks at a backend that a foreign tool writes into. */
const LOOK_MS = 2000;

interface Writing {
  backend: VolumeBackend;
  /** Named in `NoSpace`. */
  neededBytes: number;
  signal: AbortSignal;
}

/**
 * Runs a foreign tool that writes into the backend. One that is full may let the tool wait until a deadline, and not say why: then it is ended at once,
 * and what it failed with before is that there is no space.
 * @throws NoSpace (final); errors of `work`.
 */
export async function whileThereIsSpace<Result>(
  { backend, neededBytes, signal }: Writing,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const full = new AbortController();
  const findFull = async (): Promise<Failure<'NoSpace'> | undefined> => {
    const { freeBytes } = await backend.space();
    if (freeBytes === 0) return new Failure('NoSpace', { backend: backend.name, neededBytes, freeBytes });
    return undefined;
  };
  const look = async (): Promise<void> => {
    const failure = await findFull();
    if (failure !== undefined) full.abort(failure);
  };
  // A look that fails says nothing: the tool goes on.
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_MS);
  try {
    return await work(AbortSignal.any([signal, full.signal]));
  } catch (error) {
    const isPassing = error instanceof Failure && ['ToolFailed', 'BackendUnavailable'].includes(error.type);
    throw (isPassing && (await findFull().catch(() => undefined))) || error;
  } finally {
    clearInterval(timer);
  }
}
