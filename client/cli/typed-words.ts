import { formatBytes } from '../../workflows/contract/bytes';
import type { ImageVolumeCacheError } from '../errors';

/**
 * @param argv what was typed. @returns the message of a refused request in the names and units of the command line: the
 * library's are those of its fields, and bytes.
 */
export function inTypedWords({ type, message, details }: ImageVolumeCacheError, argv: readonly string[]): string {
  const { field, allowed } = details;
  if (type !== 'InvalidRequest' || typeof field !== 'string' || typeof allowed !== 'string') return message;
  const typed = optionsOf(field).flatMap((option) => typedFor(option, argv))[0];
  if (typed === undefined) return message;
  const { option, text } = typed;
  if (!field.endsWith('Bytes')) return message.replace(`${field}:`, `${option}:`);
  const [, least, of = ''] = /^at least (\d+), (.*)$/s.exec(allowed) ?? [];
  if (least !== undefined) return `${option} ${text} is less than ${of}: ${exactly(Number(least))}`;
  return `${option} ${text}: allowed is ${allowed.replaceAll(/\d{4,}/g, (bytes) => exactly(Number(bytes)))}`;
}

/** `--size-bytes` and `--size` of `sizeBytes`, `--image-id` and `--image` of `imageId`. */
function optionsOf(field: string): string[] {
  const [long, short] = [field, field.replace(/(?:Bytes|Id)$/, '')].map((name) =>
    name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
  );
  return [`--${long}`, `--${short}`];
}

function typedFor(option: string, argv: readonly string[]): { option: string; text: string }[] {
  const at = argv.findIndex((arg) => arg === option || arg.startsWith(`${option}=`));
  if (at < 0) return [];
  const [, text = argv[at + 1] ?? ''] = /=(.*)$/s.exec(argv[at] ?? '') ?? [];
  return [{ option, text }];
}

/** Bytes as they can be typed. */
function exactly(bytes: number): string {
  const text = formatBytes(bytes);
  return text.includes('.') ? `${text} (${bytes} bytes)` : text;
}
