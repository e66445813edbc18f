export interface Extent {
  offset: number;
  lengthBytes: number;
}

/** @param extents in order and apart from each other. @returns the same bytes, those that touch as one. */
export async function* joinNeighbours(extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let last: Extent | undefined;
  for await (const { offset, lengthBytes } of extents) {
    if (last !== undefined && last.offset + last.lengthBytes === offset) {
      last.lengthBytes += lengthBytes;
      continue;
    }
    if (last !== undefined) yield last;
    last = { offset, lengthBytes };
  }
  if (last !== undefined) yield last;
}
