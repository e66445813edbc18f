import { CancellationScope, log, patched } from '@temporalio/workflow';
import type { HostId } from '../contract/ids';

interface Undo {
  what: string;
  run: () => Promise<unknown>;
  /** Where it is to be done; several on one host are one. */
  host?: HostId;
}

/**
 * Compensations of a workflow. An undo is registered *before* its step, since a step's outcome may never be known; so
 * every undo is idempotent and succeeds when there is nothing to undo. They run in reverse, beyond cancellation, and
 * never mask the failure that caused them.
 */
export class UndoStack {
  private readonly undos: Undo[] = [];
  private readonly lost = new Set<HostId>();

  /** Registers the undo of the step that is about to run. */
  before(what: string, run: () => Promise<unknown>): void {
    this.undos.push({ what, run });
  }

  /** The same for a step on a host, of which each needs no more than one such undo. */
  beforeOnHost(host: HostId, what: string, run: () => Promise<unknown>): void {
    this.lost.delete(host);
    this.undos.push({ what: `${what} on host ${host}`, run, host });
  }

  /** Nobody works for this host: nothing is undone there, and the reconciler does it when the host is back. */
  leaveHost(host: HostId): void {
    this.lost.add(host);
  }

  /** The work is done: its results stay, whatever comes after. */
  forget(): void {
    this.undos.length = 0;
  }

  /**
   * Runs and forgets every registered undo: those on hosts first, side by side, since each may wait for a host that is
   * gone; then the others, the latest first. One that fails for good is logged and the others still run.
   */
  async run(): Promise<void> {
    await CancellationScope.nonCancellable(async () => {
      const onHosts = new Map(this.undos.flatMap((undo) => (undo.host === undefined ? [] : [[undo.host, undo]])));
      // Runs that began before have each of them in their history, one after the other.
      if (onHosts.size > 0 && patched('undo-once-a-host')) {
        const others = this.undos.filter(({ host }) => host === undefined);
        this.undos.splice(0, this.undos.length, ...others);
        for (const host of this.lost) onHosts.delete(host);
        await Promise.all([...onHosts.values()].map(attempt));
      }
      for (let undo = this.undos.pop(); undo !== undefined; undo = this.undos.pop()) await attempt(undo);
    });
  }
}

async function attempt({ what, run }: Undo): Promise<void> {
  try {
    await run();
  } catch (error) {
    log.error('undo failed', { undo: what, error: String(error) });
  }
}
