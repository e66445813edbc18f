/**
 * Temporal's names for the state of a run that has ended. With any other, such as PAUSED, the run is open and may still
 * act.
 */
const closedStatuses: readonly string[] = [
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'TERMINATED',
  'TIMED_OUT',
  'CONTINUED_AS_NEW',
];

/**
 * @param status a workflow run's, as the SDK names it. @returns whether the run has not ended; a status of a newer
 * server counts as open.
 */
export function isOpenRun(status: string): boolean {
  return !closedStatuses.includes(status);
}
