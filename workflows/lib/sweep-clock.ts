import type { EvictionOrder, EvictorState } from '../contract/eviction';

/** When the periodic sweeps of an evictor are due. */
export interface SweepClock {
  /** Grows whenever the next sweep may have moved. */
  readonly changes: number;
  isDue(): boolean;
  /** Milliseconds; undefined: no sweep will be due by itself. */
  untilDueMs(): number | undefined;
  /** @returns the order of the sweep that is due. */
  begin(): EvictionOrder;
  end(outcome: { failed: boolean }): void;
  /** A sweep is due now, whatever the interval, unless they are paused. */
  sweepSoon(): void;
  /** Milliseconds; null: only on request. */
  setInterval(intervalMs: number | null): void;
  /** Whether somebody has set the interval since this run began. */
  isConfigured(): boolean;
  pause(paused: boolean): void;
  /** Times are RFC 3339. */
  state(): {
    intervalMs: number | null;
    paused: boolean;
    lastSweepAt: string | null;
    nextSweepAt: string | null;
    sweeps: number;
  };
}

/** The evictors of many backends do not sweep at the same moment: each interval is up to a tenth shorter or longer. */
const JITTER = 0.1;
/** The first sweep comes soon: it catches up on the time in which no evictor ran. */
const FIRST_SWEEP_MS = 30_000;
const LONGEST_BACK_OFF_MS = 3_600_000;

/** Deterministic in a workflow, where time and chance are. */
export function createSweepClock({
  intervalMs: givenMs,
  state: earlier,
}: {
  intervalMs: number | null;
  state: Pick<EvictorState, 'paused' | 'lastSweepAt' | 'sweeps'> | undefined;
}): SweepClock {
  let intervalMs = givenMs;
  let paused = earlier?.paused ?? false;
  let lastSweepAt = earlier?.lastSweepAt ?? null;
  let sweeps = earlier?.sweeps ?? 0;
  let failures = 0;
  let changes = 0;
  let configured = false;
  let nextAtMs: number | undefined;

  const schedule = (): void => {
    changes += 1;
    if (intervalMs === null) {
      nextAtMs = undefined;
      return;
    }
    const first = lastSweepAt === null;
    const backedOffMs = Math.min(intervalMs * 2 ** failures, Math.max(intervalMs, LONGEST_BACK_OFF_MS));
    const waitMs = first
      ? Math.min(intervalMs, FIRST_SWEEP_MS) * Math.random()
      : backedOffMs * (1 + JITTER * (2 * Math.random() - 1));
    const fromMs = first || failures > 0 ? Date.now() : Date.parse(lastSweepAt ?? '');
    nextAtMs = Math.round((Number.isNaN(fromMs) ? Date.now() : fromMs) + waitMs);
  };
  schedule();
  const untilDueMs = (): number | undefined =>
    paused || nextAtMs === undefined ? undefined : Math.max(0, nextAtMs - Date.now());

  return {
    get changes() {
      return changes;
    },
    isDue: () => untilDueMs() === 0,
    untilDueMs,
    begin: () => ({ requestId: `periodic-sweep-${sweeps + 1}`, signal: 'sweep', reason: 'periodic', dryRun: false }),
    end: ({ failed }) => {
      failures = failed ? failures + 1 : 0;
      sweeps += 1;
      lastSweepAt = new Date().toISOString();
      schedule();
    },
    sweepSoon: () => {
      changes += 1;
      nextAtMs = Date.now();
    },
    setInterval: (given) => {
      configured = true;
      if (given === intervalMs) return;
      intervalMs = given;
      schedule();
    },
    isConfigured: () => configured,
    pause: (given) => {
      changes += 1;
      paused = given;
    },
    state: () => ({
      intervalMs,
      paused,
      lastSweepAt,
      nextSweepAt: paused || nextAtMs === undefined ? null : new Date(nextAtMs).toISOString(),
      sweeps,
    }),
  };
}
