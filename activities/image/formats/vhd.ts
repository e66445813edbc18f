import { findDynamicRefusal } from './vhd-dynamic';
import { parseVhdFooter, VHD_FIXED, VHD_FOOTER_BYTES, vhdFooterChecks, type VhdFooter } from './vhd-footer';
import type { Signature } from './signatures';
import { firstRefusal, need, type Steps, type Subject } from './steps';
import { refuse, type ImageRefusal, type ImageVerdict } from './verdict';

/** Inspects a VHD: a footer at the end; a dynamic disk has its copy at the start. */
export function* inspectVhd(subject: Subject, signatures: Signature[]): Steps<ImageVerdict> {
  const isAtStart = signatures.some(({ format }) => format === 'vhd');
  const early = isAtStart
    ? firstRefusal(parseVhdFooter(yield* need(0, VHD_FOOTER_BYTES), 0), subject, vhdFooterChecks)
    : undefined;
  if (early) return early;
  const offset = subject.sizeBytes - VHD_FOOTER_BYTES;
  const footer = parseVhdFooter(yield* need(Math.max(0, offset), VHD_FOOTER_BYTES), offset);
  const refusal =
    firstRefusal(footer, subject, vhdFooterChecks) ??
    findPlaceRefusal(footer, isAtStart) ??
    (yield* findLayoutRefusal(footer, subject));
  return (
    refusal ?? {
      kind: 'accepted',
      format: 'vhd',
      virtualSizeBytes: footer.virtualBytes,
      details: { type: isAtStart ? 'dynamic' : 'fixed' },
    }
  );
}

function findPlaceRefusal({ type, offset }: VhdFooter, isAtStart: boolean): ImageRefusal | undefined {
  if ((type === VHD_FIXED) !== isAtStart) return undefined;
  return refuse('vhd-footer', {
    offset,
    found: isAtStart ? 'a fixed disk with a footer at its start' : 'a dynamic disk without a copy of its footer',
    allowed: 'a copy at the start of a dynamic disk only',
  });
}

function* findLayoutRefusal(footer: VhdFooter, subject: Subject): Steps<ImageRefusal | undefined> {
  if (footer.type !== VHD_FIXED) return yield* findDynamicRefusal(footer, subject);
  const diskBytes = subject.sizeBytes - VHD_FOOTER_BYTES;
  if (footer.currentBytes === diskBytes && footer.virtualBytes <= diskBytes) return undefined;
  return refuse('vhd-size', {
    offset: footer.offset + 48,
    found: `${footer.currentBytes} bytes, ${footer.virtualBytes} by its geometry`,
    allowed: `${diskBytes} bytes`,
  });
}
