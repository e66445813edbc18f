/** Progress of a long activity: shown as heartbeat details in the UI and as the CLI's progress bar. */
export interface Progress {
  stage:
    | 'waiting'
    | 'downloading'
    | 'uploading'
    | 'verifying'
    | 'inspecting'
    | 'converting'
    | 'sealing'
    | 'answering'
    | 'cloning'
    | 'undoing';
  /** One sentence for the UI: `downloading 120.0 MiB of 512.0 MiB, 93.1 MiB/s`. */
  summary: string;
  bytesDone?: number;
  bytesTotal?: number;
  bytesPerSecond?: number;
}

/** Receives progress and carries cancellation to adapters, which know nothing of Temporal. */
export interface ProgressReporter {
  report(progress: Progress): void;
  /** Aborted when the work is cancelled, timed out or the worker stops. */
  readonly signal: AbortSignal;
}
