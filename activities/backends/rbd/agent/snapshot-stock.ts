import { addSnapshot, allocateSnapshot } from '../header';
import { withImage } from './image-handles';
import { calls, connection, library } from './session';

/** A number for the next snapshot: to have it at hand spares a population the wait. One that is never used costs nothing. */
let nextSnapshot: Promise<bigint | undefined> | undefined;

/** @returns undefined where there was none: librbd asks for its own then, and tells why it gets none. */
export function stockSnapshot(): Promise<bigint | undefined> {
  nextSnapshot ??= allocateSnapshot(library, connection().io).catch(() => undefined);
  return nextSnapshot;
}

export async function createStockedSnapshot(name: string, snapshot: string): Promise<void> {
  const stocked = stockSnapshot();
  nextSnapshot = undefined;
  const id = await stocked;
  void stockSnapshot();
  await withImage(name, { writable: true }, async (image) => {
    if (id === undefined || !(await addSnapshot(library, { io: connection().io, image }, { name: snapshot, id })))
      await calls.createSnapshot(image, snapshot);
  });
}
