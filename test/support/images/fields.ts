/** A number or bytes at a place of a header, in the header's byte order. */
export type Field =
  | [offset: number, kind: 'u8' | 'u16be' | 'u32be' | 'u64be' | 'u16le' | 'u32le' | 'u64le', value: number | bigint]
  | [offset: number, kind: 'bytes', value: Buffer | string];

/** Writes `fields` into `image`. @returns `image`. */
export function write(image: Buffer, fields: Field[]): Buffer {
  for (const [offset, kind, value] of fields) {
    if (kind === 'bytes') Buffer.from(value).copy(image, offset);
    else if (kind === 'u8') image.writeUInt8(Number(value), offset);
    else if (kind === 'u16be') image.writeUInt16BE(Number(value), offset);
    else if (kind === 'u16le') image.writeUInt16LE(Number(value), offset);
    else if (kind === 'u32be') image.writeUInt32BE(Number(value), offset);
    else if (kind === 'u32le') image.writeUInt32LE(Number(value), offset);
    else if (kind === 'u64be') image.writeBigUInt64BE(BigInt(value), offset);
    else image.writeBigUInt64LE(BigInt(value), offset);
  }
  return image;
}

/** @returns a copy of `image` with `fields` written over it. */
export function patched(image: Buffer, fields: Field[]): Buffer {
  return write(Buffer.from(image), fields);
}
