import { MiB } from '../../workflows/contract/bytes';

/** A disk that is read where it has data. */
export interface SparseReader {
  readonly sizeBytes: number;
  /** Parts that may hold data, in order and apart from each other; the gaps read as zeros. */
  extents(): AsyncIterable<SparseExtent>;
  /** Several may run at once. @returns fewer bytes than asked for only at the end. */
  read(offset: number, lengthBytes: number): Promise<Buffer>;
}

export interface SparseExtent {
  offset: number;
  lengthBytes: number;
}

/** A piece of an image's file, as it is made of a disk. */
export type FilePart = Buffer | ({ kind: 'guest' } & SparseExtent) | { kind: 'zeros'; lengthBytes: number };

/** The file of an image that is made while it is read: the same bytes every time. */
export interface ImageFile {
  sizeBytes: number;
  parts(): AsyncIterable<FilePart>;
}

/** The bytes that a guest sees are the file. */
export function rawFileOf(disk: SparseReader): ImageFile {
  return {
    sizeBytes: disk.sizeBytes,
    async *parts() {
      let at = 0;
      for await (const { offset, lengthBytes } of disk.extents()) {
        if (offset > at) yield { kind: 'zeros', lengthBytes: offset - at };
        yield { kind: 'guest', offset, lengthBytes };
        at = offset + lengthBytes;
      }
      if (at < disk.sizeBytes) yield { kind: 'zeros', lengthBytes: disk.sizeBytes - at };
    },
  };
}

/** @returns the disk's first bytes, as a disk of that size. */
export function firstBytesOf(disk: SparseReader, sizeBytes: number): SparseReader {
  return {
    sizeBytes,
    read: (offset, lengthBytes) => disk.read(offset, Math.max(0, Math.min(lengthBytes, sizeBytes - offset))),
    async *extents() {
      for await (const { offset, lengthBytes } of disk.extents())
        if (offset < sizeBytes) yield { offset, lengthBytes: Math.min(lengthBytes, sizeBytes - offset) };
    },
  };
}

const BLOCK_BYTES = 4 * MiB;
/** Blocks that are read ahead: with those on their way to the network, the bound of an upload's memory. */
const READS_AHEAD = 4;
const zeros = Buffer.alloc(BLOCK_BYTES);

/** The file's bytes, in blocks; some are read ahead, and holes are not read at all. Blocks of zeros are one and the same buffer: write into none. */
export async function* readFileParts(file: ImageFile, disk: SparseReader): AsyncGenerator<Buffer> {
  const ahead: Reading[] = [];
  try {
    for await (const part of blocksOf(file)) {
      const block = readBlock(part, disk);
      // The caller that takes the block gets its error; a block that nobody takes any more must not end the process.
      block.catch(() => undefined);
      ahead.push({ block });
      if (ahead.length > READS_AHEAD) yield await takeNext(ahead);
    }
    while (ahead.length > 0) yield await takeNext(ahead);
  } finally {
    // Nobody closes the disk under a read.
    await Promise.allSettled(ahead.map(({ block }) => block));
  }
}

interface Reading {
  block: Promise<Buffer>;
}

async function takeNext(ahead: Reading[]): Promise<Buffer> {
  const [next] = ahead;
  const block = (await next?.block) ?? Buffer.alloc(0);
  ahead.shift();
  return block;
}

async function* blocksOf(file: ImageFile): AsyncGenerator<FilePart> {
  for await (const part of file.parts()) {
    if (Buffer.isBuffer(part)) {
      yield part;
      continue;
    }
    for (let done = 0; done < part.lengthBytes; done += BLOCK_BYTES) {
      const lengthBytes = Math.min(BLOCK_BYTES, part.lengthBytes - done);
      yield part.kind === 'zeros'
        ? { kind: 'zeros', lengthBytes }
        : { kind: 'guest', offset: part.offset + done, lengthBytes };
    }
  }
}

async function readBlock(part: FilePart, disk: SparseReader): Promise<Buffer> {
  if (Buffer.isBuffer(part)) return part;
  if (part.kind === 'zeros') return zeros.subarray(0, part.lengthBytes);
  const bytes = await disk.read(part.offset, part.lengthBytes);
  if (bytes.length === part.lengthBytes) return bytes;
  throw new Error(`${bytes.length} of ${part.lengthBytes} bytes were read at byte ${part.offset}`);
}
