import type { Subject } from './steps';
import { refuse, type ImageRefusal } from './verdict';

/** @returns the bytes that a file of this size may make us write. */
export function expansionLimit({ sizeBytes, policy }: Pick<Subject, 'sizeBytes' | 'policy'>): number {
  return policy.expansionAllowanceBytes + policy.maxExpansion * sizeBytes;
}

/** The rule against files whose tables write far more than they hold. @param writtenBytes at most what the tables write. */
export function findExpansionRefusal(
  writtenBytes: number,
  { subject, offset }: { subject: Subject; offset?: number },
): ImageRefusal | undefined {
  const limit = expansionLimit(subject);
  if (writtenBytes <= limit) return undefined;
  return refuse('expansion-too-large', {
    offset,
    found: `at least ${writtenBytes} bytes from a file of ${subject.sizeBytes}`,
    allowed: `at most ${limit} bytes`,
  });
}
