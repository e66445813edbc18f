/** Waits until all have ended, so that nobody is still at work when a failure is told. @throws the first of them, in their order. */
export async function settleAll(work: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === 'rejected') throw outcome.reason;
}
