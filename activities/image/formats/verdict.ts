import { Failure } from '../../../workflows/contract/failures';
import type { ImageFormat, ImagePolicy } from '../policy';
import { rules, type RuleName } from './rules';

/** Facts worth a log line or a decision record: versions, cluster sizes, features. */
export type Details = Record<string, string | number | boolean>;

export interface Accepted {
  kind: 'accepted';
  format: ImageFormat;
  /** Guest-visible bytes, a multiple of 512. */
  virtualSizeBytes: number;
  details: Details;
}

/** The rule that is broken, where, by what, and what it allows. Safe to show to the image's owner. */
export interface ImageRefusal {
  kind: 'refused';
  rule: RuleName;
  /** Byte offset in the file of what was found, where one tells. */
  offset?: number;
  found: string;
  allowed: string;
}

export type ImageVerdict = Accepted | ImageRefusal;

/** Verdict by the first bytes of a stream; `undecided` until `needs` has come. */
export type HeadVerdict = ImageVerdict | { kind: 'undecided'; needs: { offset: number; lengthBytes: number } };

/** @returns a refusal by `rule`. */
export function refuse(rule: RuleName, finding: { found: string; allowed: string; offset?: number }): ImageRefusal {
  return { kind: 'refused', rule, ...finding };
}

/**
 * @returns the failure that the refusal of image `imageId` is, by the rule's own word.
 * @param bytesVerified whether the bytes that were inspected have the record's hash: only then they are the image's own, and the refusal is remembered.
 */
export function refusalFailure(
  { rule, found, allowed, offset }: ImageRefusal,
  imageId: string,
  { bytesVerified = true }: { bytesVerified?: boolean } = {},
): Failure {
  if (rules[rule].failure === 'ImageUnsupported') return new Failure('ImageUnsupported', { imageId, found, allowed });
  return new Failure('ImageRefused', {
    imageId,
    rule,
    found,
    allowed,
    ...(offset === undefined ? {} : { offset }),
    ...(bytesVerified && { bytesVerified }),
  });
}

/** The rules on a guest-visible size, the same for every format. @param offset where the header says it. */
export function findSizeRefusal(
  virtualBytes: number,
  { policy, offset }: { policy: ImagePolicy; offset?: number },
): ImageRefusal | undefined {
  const allowed = `1 to ${policy.maxVirtualBytes} bytes`;
  const found = `${virtualBytes} bytes`;
  if (virtualBytes === 0) return refuse('virtual-size-zero', { offset, found, allowed });
  if (!Number.isSafeInteger(virtualBytes) || virtualBytes < 0)
    return refuse('virtual-size-overflow', { offset, found: `about ${found}`, allowed });
  if (virtualBytes > policy.maxVirtualBytes) return refuse('virtual-size-too-large', { offset, found, allowed });
  return undefined;
}

/** @returns at most 60 characters of foreign text, quoted, without control characters. */
export function quoteForeign(text: string): string {
  const clean = text.replaceAll(/[^\x20-\x7e]/g, '?');
  return JSON.stringify(clean.length > 60 ? `${clean.slice(0, 57)}...` : clean);
}
