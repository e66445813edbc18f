import { MiB } from '../../../workflows/contract/bytes';
import type { ImagePolicy } from '../policy';
import type { ImageRefusal } from './verdict';

/** Bytes of the image file that a parser wants next. */
export interface Range {
  offset: number;
  lengthBytes: number;
}

/**
 * A parser: it yields the range it needs, is resumed with exactly those bytes, and returns what it found.
 * It does no I/O, so the same parser inspects a stream's first bytes, a file on disk and a test's buffer.
 * A range of no bytes asks for nothing but a pause: other work that waits for this thread has its turn there.
 * Its driver ends it when bytes are missing; a parser never sees a short buffer.
 */
export type Steps<Result> = Generator<Range, Result, Buffer>;

/** Facts that a parser knows beside the bytes. */
export interface Subject {
  /** Size of the image file; Infinity while nobody knows it. */
  sizeBytes: number;
  policy: ImagePolicy;
}

/** One rule's look at a parsed header. */
export type Check<Facts> = (facts: Facts, subject: Subject) => ImageRefusal | undefined;

/** Largest range a parser may ask for at once, in bytes. */
export const MAX_RANGE_BYTES = 2 * MiB;

/** @returns the bytes of the file at `offset`. */
export function* need(offset: number, lengthBytes: number): Steps<Buffer> {
  return yield { offset, lengthBytes };
}

/** Lets others work. A parser does it after some ten thousand entries that it looked at without asking for bytes. */
export function* giveWay(): Steps<void> {
  yield { offset: 0, lengthBytes: 0 };
}

export function isPause({ lengthBytes }: Range): boolean {
  return lengthBytes === 0;
}

/** @returns the first refusal of `checks`, in their order. */
export function firstRefusal<Facts>(
  facts: Facts,
  subject: Subject,
  checks: readonly Check<Facts>[],
): ImageRefusal | undefined {
  for (const check of checks) {
    const refusal = check(facts, subject);
    if (refusal) return refusal;
  }
  return undefined;
}

/** @returns the number at `at`; beyond 2^53 it is inexact, which every limit refuses. */
export function u64be(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64BE(at));
}

export function u64le(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}

/** @returns whether `offset` and `lengthBytes` lie in the file. */
export function isWithin(subject: Subject, { offset, lengthBytes }: Range): boolean {
  const end = offset + lengthBytes;
  return Number.isSafeInteger(offset) && Number.isSafeInteger(end) && end <= subject.sizeBytes;
}

/**
 * @returns whether the range lies in the file, but for less than a cluster at its end: that may be left out, and reads as zeros. Beyond it `qemu-img check`
 *   calls an image corrupt (QEMU's `qcow2_inc_refcounts_imrt`).
 */
export function isWithinCluster(
  { offset, lengthBytes }: Range,
  { subject, clusterBytes }: { subject: Subject; clusterBytes: number },
): boolean {
  const end = offset + lengthBytes;
  return Number.isSafeInteger(offset) && Number.isSafeInteger(end) && end - subject.sizeBytes < clusterBytes;
}

/** @returns whether the two ranges share a byte. */
export function overlap(a: Range, b: Range): boolean {
  return a.offset < b.offset + b.lengthBytes && b.offset < a.offset + a.lengthBytes;
}
