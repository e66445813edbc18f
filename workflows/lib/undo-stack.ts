import { CancellationScope, log } from '@temporalio/workflow';

interface Undo {
  what: string;
  run(): Promise<unknown>;
}

/**
 * Compensations of a workflow. An undo is registered *before* its step, since a step's outcome may never be known; so every undo is idempotent
 * and succeeds when there is nothing to undo. They run in reverse, beyond cancellation, and never mask the failure that caused them.
 */
export class UndoStack {
  private readonly undos: Undo[] = [];

  /** Registers the undo of the step that is about to run. */
  before(what: string, run: () => Promise<unknown>): void {
    this.undos.push({ what, run });
  }

  /** The work is done: what was made stays, whatever comes after. */
  forget(): void {
    this.undos.length = 0;
  }

  /** Runs and forgets every registered undo, the latest first; one that fails for good is logged and the others still run. */
  async run(): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      for (let undo = this.undos.pop(); undo !== undefined; undo = this.undos.pop()) {
        try {
          await undo.run();
        } catch (error) {
          log.error('undo failed', { undo: undo.what, error: String(error) });
        }
      }
    });
  }
}
