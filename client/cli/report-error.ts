import { CommanderError } from 'commander';
import { ConfigError } from '../config/config-error';
import { exitCodes, ImageVolumeCacheError } from '../errors';
import { note, printJson } from './output/print';
import { progressHint } from './run-verb';

interface ErrorReport {
  exitCode: number;
  type: string;
  message: string;
  /** Commander has printed the message already. */
  said?: boolean;
  /** The next command to type. */
  hint?: string;
  details?: Record<string, unknown>;
  workflowId?: string;
}

/** Says what went wrong on stderr, and with `json` as the one document on stdout too. @returns the exit code. */
export function reportError(error: unknown, { json }: { json: boolean }): number {
  const { said = false, hint, ...report } = describeFailure(error);
  if (report.exitCode === exitCodes.done) return exitCodes.done;
  if (!said) note([...sentencesOf(error, report), ...(hint === undefined ? [] : [hint])]);
  if (json) printJson({ error: report });
  return report.exitCode;
}

/** Only faults of a configuration, and the stack of an unexpected error, take several lines. */
function sentencesOf(error: unknown, { message }: Pick<ErrorReport, 'message'>): string[] {
  if (error instanceof ConfigError) return `ivc: ${message}`.split('\n');
  const where = process.env['IVC_DEBUG'] && error instanceof Error ? stackOf(error) : [];
  return [`ivc: ${message}`, ...where];
}

function describeFailure(error: unknown): ErrorReport {
  if (error instanceof CommanderError) {
    const exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return { exitCode, type: 'Usage', message: error.message.replace(/^error: /, ''), said: true };
  }
  if (error instanceof ConfigError) return { exitCode: exitCodes.usage, type: 'ConfigError', message: error.message };
  if (error instanceof ImageVolumeCacheError) {
    const { exitCode, type, message, details, workflowId } = error;
    return { exitCode, type, message: `${message}${causeOf(error)}`, details, workflowId, hint: hintFor(error) };
  }
  return { exitCode: exitCodes.failed, type: 'Unexpected', message: describe(error) };
}

/** The cause helps to start a service that is unavailable; of other failures the public message says all. */
function causeOf({ exitCode, details }: ImageVolumeCacheError): string {
  const { cause } = details;
  return exitCode === exitCodes.unavailable && typeof cause === 'string' && cause !== '' ? `: ${cause}` : '';
}

function hintFor({ type, exitCode, workflowId }: ImageVolumeCacheError): string | undefined {
  if (type === 'WaitInterrupted') return workflowId === undefined ? undefined : progressHint(workflowId);
  if (type === 'NotConfigured' || exitCode !== exitCodes.unavailable) return undefined;
  return 'Is the stack up? `ivc up` starts it, `ivc doctor` says what is wrong.';
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env['IVC_DEBUG'] ? error.message : `${error.message} (IVC_DEBUG=1 shows where)`;
}

/** @returns the lines below the message. */
function stackOf({ message, stack = '' }: Error): string[] {
  const at = stack.indexOf(message);
  return at < 0
    ? stack.split('\n')
    : stack
        .slice(at + message.length)
        .split('\n')
        .slice(1);
}
