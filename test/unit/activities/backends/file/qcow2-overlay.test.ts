import { assert, integer, property, string, uint8Array } from 'fast-check';
import {
  formatOverlay,
  MAX_ANNOTATION_BYTES,
  MAX_OVERLAY_BYTES,
  parseOverlay,
} from '../../../../../activities/backends/file/qcow2-overlay';
import { SECTOR_BYTES, TiB } from '../../../../../workflows/contract/bytes';

const overlay = {
  virtualBytes: 10 * TiB,
  backingFile: '../images/img.raw',
  annotation: '{"a":1}',
} as const;
const headOf = (content: ReturnType<typeof formatOverlay>): Buffer => content.writes[0]?.bytes ?? Buffer.alloc(0);

describe('formatOverlay', () => {
  it('makes a head that is read back as it was meant, whatever the size and the annotation', () => {
    const sectors = integer({ min: 1, max: MAX_OVERLAY_BYTES / SECTOR_BYTES });
    assert(
      property(sectors, string({ unit: 'grapheme', maxLength: 2000 }), (count, annotation) => {
        const given = { ...overlay, virtualBytes: count * SECTOR_BYTES, annotation };
        const { virtualBytes, backingFile } = given;
        expect(parseOverlay(headOf(formatOverlay(given)))).toEqual({ virtualBytes, backingFile, annotation });
      }),
    );
  });

  it('names no parent where there is none', () => {
    const { virtualBytes, annotation } = overlay;
    expect(parseOverlay(headOf(formatOverlay({ virtualBytes, annotation })))).toEqual({ virtualBytes, annotation });
  });

  it('keeps its head within the first cluster and its regions apart at the largest size and annotation', () => {
    const { writes, fileBytes } = formatOverlay({
      ...overlay,
      virtualBytes: MAX_OVERLAY_BYTES,
      annotation: 'x'.repeat(MAX_ANNOTATION_BYTES),
    });
    let end = 0;
    for (const { position, bytes } of writes) {
      expect(position % 65_536).toBe(0);
      expect(position).toBeGreaterThanOrEqual(end);
      end = position + bytes.length;
    }
    expect(fileBytes).toBeGreaterThan(end);
  });
});

describe('parseOverlay', () => {
  it('says of any other bytes that they are no overlay, and never throws', () => {
    assert(
      property(uint8Array({ maxLength: 300 }), (bytes) => expect(parseOverlay(Buffer.from(bytes))).toBeUndefined()),
    );
  });

  it('never throws on a head that was cut or changed', () => {
    const head = headOf(formatOverlay(overlay));
    const position = integer({ min: 0, max: head.length - 1 });
    assert(
      property(position, integer({ min: 0, max: 255 }), position, (at, byte, length) => {
        const changed = Buffer.from(head);
        changed[at] = byte;
        expect(() => parseOverlay(changed)).not.toThrow();
        expect(() => parseOverlay(changed.subarray(0, length))).not.toThrow();
      }),
    );
  });
});
