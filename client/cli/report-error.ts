import { CommanderError } from 'commander';
import { ConfigError } from '../config/config-error';
import { exitCodes, ImageVolumeCacheError } from '../errors';
import { note } from './output/print';
import { printDocument, type DocumentFormat } from './output/show';
import { progressHint } from './run-verb';
import { inTypedWords } from './typed-words';

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

/** Says what went wrong on stderr, and with a format as the one document on stdout too. @returns the exit code. */
export function reportError(
  error: unknown,
  { format, argv = [] }: { format?: DocumentFormat; argv?: readonly string[] },
): number {
  const { said = false, hint, ...report } = describeFailure(error);
  if (report.exitCode === exitCodes.done) return exitCodes.done;
  if (!said)
    note([
      ...sentencesOf(error, { message: messageFor(error, { ...report, argv }) }),
      ...(hint === undefined ? [] : [hint]),
    ]);
  if (format !== undefined) printDocument({ error: report }, format);
  return report.exitCode;
}

/** People are told in the words that they typed, programs in the library's. */
function messageFor(error: unknown, { message, argv }: { message: string; argv: readonly string[] }): string {
  return error instanceof ImageVolumeCacheError && error.type === 'InvalidRequest'
    ? inTypedWords(error, argv)
    : message;
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

function hintFor({ type, exitCode, workflowId, details }: ImageVolumeCacheError): string | undefined {
  if (type === 'WaitInterrupted')
    return workflowId === undefined ? undefined : progressHint(workflowId, details['projectId']);
  if (type === 'NotConfigured' || type === 'OtherVersion' || exitCode !== exitCodes.unavailable) return undefined;
  // That is a server of others, of which no stack of ours knows.
  if (type === 'CinderUnavailable')
    return 'Is its server up, and is --database what `[database] connection` of cinder.conf says? It is reached from this host. Nothing was changed.';
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
