import type { Client } from '@temporalio/client';
import type { ImageVolumeCache } from '../../connection';
import { exitCodes, ImageVolumeCacheError } from '../../errors';
import { reportingErrors } from '../../run-workflow';
import { errorMessage } from '../../../lib/error-message';

/** The result of one check. Field names are those of `--json`. */
export interface DoctorFinding {
  check: string;
  /** `warning`: it works, but somebody should know. `skipped`: something before it is missing. */
  state: 'ok' | 'warning' | 'fault' | 'skipped';
  found: string;
  /** How to fix it; a command to type wherever one helps. */
  remedy?: string;
  /** A part that does not answer, as against one that is set up wrong. */
  unavailable?: boolean;
}

export function ok(check: string, found: string): DoctorFinding {
  return { check, state: 'ok', found };
}

export function warning(check: string, found: string, remedy: string): DoctorFinding {
  return { check, state: 'warning', found, remedy };
}

export function fault(check: string, found: string, remedy: string): DoctorFinding {
  return { check, state: 'fault', found, remedy };
}

export function skipped(check: string, found: string): DoctorFinding {
  return { check, state: 'skipped', found };
}

/** Runs a check, and turns what it throws into a fault. */
export async function runCheck(
  check: string,
  remedy: string,
  see: () => Promise<DoctorFinding | DoctorFinding[]>,
): Promise<DoctorFinding[]> {
  try {
    return [await see()].flat();
  } catch (error) {
    const unavailable = error instanceof ImageVolumeCacheError && error.exitCode === exitCodes.unavailable;
    return [{ ...fault(check, errorMessage(error), remedy), unavailable }];
  }
}

/** How long one request to the Temporal server may take. */
const REQUEST_TIMEOUT_MS = 5000;

export async function requestTemporal<T>(cache: ImageVolumeCache, request: (client: Client) => Promise<T>): Promise<T> {
  return await reportingErrors(cache, undefined, (client) =>
    client.withDeadline(Date.now() + REQUEST_TIMEOUT_MS, () => request(client)),
  );
}

/** @returns 5 when a part does not answer, 1 when something else is wrong, 0 when all is well. */
export function exitCodeOfFindings(findings: DoctorFinding[]): number {
  const faults = findings.filter(({ state }) => state === 'fault');
  if (faults.some(({ unavailable }) => unavailable)) return exitCodes.unavailable;
  return faults.length > 0 ? exitCodes.failed : exitCodes.done;
}
