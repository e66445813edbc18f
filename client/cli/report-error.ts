import { CommanderError } from 'commander';
import { ConfigError } from '../config/config-error';
import { ImageVolumeCacheError } from '../errors';
import { exitCodes } from './exit-codes';
import { howToLook } from './output/how-to-look';
import { note, printJson } from './output/print';

interface ErrorReport {
  exitCode: number;
  /** Undefined when it has been said already. */
  message?: string;
  /** What to type next. */
  hint?: string;
  type: string;
  details?: Record<string, unknown>;
  workflowId?: string;
}

/** Says what went wrong on stderr, and with `json` as the one document on stdout too. @returns the exit code. */
export function reportError(error: unknown, { json }: { json: boolean }): number {
  const { exitCode, message, hint, ...program } = judge(error);
  if (message !== undefined) note(`ivc: ${message}${hint === undefined ? '' : `\n${hint}`}`);
  if (json && message !== undefined) printJson({ error: { ...program, message, exitCode } });
  return exitCode;
}

function judge(error: unknown): ErrorReport {
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCodes.done : exitCodes.usage, type: 'Usage' };
  }
  if (error instanceof ConfigError) return { exitCode: exitCodes.usage, type: 'ConfigError', message: error.message };
  if (error instanceof ImageVolumeCacheError) {
    const { exitCode, type, message, details, workflowId } = error;
    return { exitCode, type, message, details, workflowId, hint: hintFor(error) };
  }
  return { exitCode: exitCodes.failed, type: 'Unexpected', message: describe(error) };
}

function hintFor({ type, exitCode, workflowId = '' }: ImageVolumeCacheError): string | undefined {
  if (type === 'WaitInterrupted') return howToLook(workflowId);
  if (type === 'NotConfigured' || exitCode !== exitCodes.unavailable) return undefined;
  return 'Is the stack up? `ivc up` starts it, `ivc doctor` says what is wrong.';
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env['IVC_DEBUG'] ? (error.stack ?? error.message) : `${error.message} (IVC_DEBUG=1 shows where)`;
}
