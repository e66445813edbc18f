/** Callers of one host that wait for room in its scratch, in the order of their coming. */
export interface ScratchQueue {
  /** Puts a caller behind all others. Undo: `leave` of what it returns. */
  enter(want: ScratchWant): ScratchWaiter;
}

export interface ScratchWant {
  contentHash: string;
  neededBytes: number;
}

export interface ScratchWaiter {
  /** How many have come before it and wait still. */
  ahead(): number;
  /**
   * Whether it may try to reserve now: it is the first, its content has come, or the first lacks more than what is
   * free. A caller that has been the first for `overtakingMs` is overtaken no more, so that a large image gets its room
   * when the transfers that run have ended.
   */
  mayTry(): boolean;
  /** It was refused: so many bytes are free for others. */
  wasRefused(freeBytes: number): void;
  /** Its content is being brought: others that want the same need no room. */
  wasGranted(): void;
  leave(): void;
}

export const OVERTAKING_MS = 10 * 60_000;

interface Waiting extends ScratchWant {
  /** Since when it has been the first. */
  firstSinceMs?: number;
  isThere: boolean;
}

export function createScratchQueue({ overtakingMs = OVERTAKING_MS, now = () => performance.now() } = {}): ScratchQueue {
  const waiting: Waiting[] = [];
  let freeBytes = 0;

  const mayOvertake = (self: Waiting): boolean => {
    const [first] = waiting;
    if (first === undefined || self.neededBytes > freeBytes) return false;
    return first.neededBytes > freeBytes && now() - (first.firstSinceMs ?? now()) < overtakingMs;
  };
  const noteFirst = (): void => {
    const [first] = waiting;
    if (first !== undefined) first.firstSinceMs ??= now();
  };

  return {
    enter(want) {
      const self: Waiting = { ...want, isThere: false };
      waiting.push(self);
      noteFirst();
      return {
        ahead: () => waiting.indexOf(self),
        mayTry: () => self === waiting[0] || self.isThere || mayOvertake(self),
        wasRefused: (bytes) => void (freeBytes = bytes),
        wasGranted() {
          freeBytes = Math.max(0, freeBytes - self.neededBytes);
          for (const other of waiting) other.isThere ||= other.contentHash === self.contentHash;
        },
        leave() {
          const at = waiting.indexOf(self);
          if (at >= 0) waiting.splice(at, 1);
          noteFirst();
        },
      };
    },
  };
}
