/** Of the first poll, where nothing is known. */
const SOONEST_MS = 4;
/** Of the first poll. */
const LATEST_MS = 1000;
const LONGEST_PAUSE_MS = 250;
/** A poll comes so much later than the one before it, of the time that has passed. */
const LATER = 0.1;
/** A result that was there at the first poll may have been there earlier. With `LONGER` it makes some two of ten first polls find it. */
const SHORTER = 0.8;
const LONGER = 1.05;

/**
 * When to poll for a result that takes about as long each time: first when it has nearly always taken longer, as the ones before it show, then soon again.
 * A poll costs as much as the result itself where many wait at once.
 */
export class PollPace {
  private firstMs = SOONEST_MS;

  /** @param passedMs since it began, at the poll before; undefined: there was none. @returns how long to wait for the next one. */
  pauseMs(passedMs?: number): number {
    if (passedMs === undefined) return this.firstMs;
    return Math.min(Math.max(LATER * passedMs, SOONEST_MS), LONGEST_PAUSE_MS);
  }

  /** It was there `passedMs` after it began, at poll number `polls`. */
  found(passedMs: number, polls: number): void {
    this.firstMs =
      polls === 1 ? Math.max(SHORTER * this.firstMs, SOONEST_MS) : Math.min(LONGER * this.firstMs, passedMs, LATEST_MS);
  }
}
