import { backendHeld } from '../kit/backend-held';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import type { BackendName } from '../../workflows/contract/ids';
import { openDatabaseClock } from '../../db/clock';
import { createCollector, type Collector } from './collector';
import { workflowExecution } from '../kit/runs';

/** Each time is compared with the clock that wrote it. */
export interface Age {
  /** By the inventory. */
  since?: Date | null;
  /** By the file system. */
  writtenAt?: Date;
}

/** One step under way: what its parts share. */
export interface ReconcileRun {
  deps: BackendDependencies;
  backend: VolumeBackend;
  dryRun: boolean;
  collector: Collector;
  workflowId: string;
  runId: string;
  /** Whether something is as yet too young to be judged. */
  isYoung(age: Age): boolean;
}

/** @throws BackendUnavailable when this worker does not hold the backend (retried by another). */
export async function beginRun(deps: BackendDependencies, name: BackendName, dryRun: boolean): Promise<ReconcileRun> {
  return {
    deps,
    backend: backendHeld(deps, name),
    dryRun,
    collector: createCollector(deps, name),
    ...workflowExecution(),
    isYoung: await createAgeJudge(deps),
  };
}

/** @returns what tells whether something is younger than `schedules.grace`. */
export async function createAgeJudge({
  config,
  database,
}: Pick<BackendDependencies, 'config' | 'database'>): Promise<(age: Age) => boolean> {
  const { grace } = config.schedules;
  const databaseTime = await openDatabaseClock(database);
  const isWithin = (at: Date | null | undefined, now: Date): boolean =>
    at !== null && at !== undefined && now.getTime() - at.getTime() < grace;
  return ({ since, writtenAt }) => isWithin(since, databaseTime()) || isWithin(writtenAt, new Date());
}
