import type { Hash } from 'node:crypto';
import type { Handle } from '../bindings';
import { calls, connection, handle } from './session';

interface OpenImage {
  handle: Handle;
  hash?: Hash;
  /** Calls of the worker that are under way on it. */
  uses: Set<Promise<unknown>>;
}
const openImages = new Map<number, OpenImage>();
let lastImage = 0;

/** Opens an image for one piece of work; it is closed on every path, before a failure is told. */
export async function withImage<Result>(
  name: string,
  options: { writable: boolean; snapshot?: string | null; io?: Handle },
  work: (image: Handle) => Promise<Result>,
): Promise<Result> {
  const number = await openImage(name, options);
  try {
    return await work(getHandle(number));
  } finally {
    await closeImage(number);
  }
}

export async function openImage(
  name: string,
  { writable, snapshot = null, io = connection().io }: { writable: boolean; snapshot?: string | null; io?: Handle },
): Promise<number> {
  const opened = await handle((out) => (writable ? calls.open : calls.openReadOnly)(io, name, out, snapshot));
  const number = (lastImage += 1);
  openImages.set(number, { handle: opened, uses: new Set() });
  return number;
}

/** A handle that was closed, or never opened, is an error here and not a crash in the library; so is one that is closed while it is used. */
export async function closeImage(number: number): Promise<void> {
  const { handle: image, uses } = getImage(number);
  openImages.delete(number);
  await Promise.allSettled(uses);
  await calls.close(image);
}

/** Uses an image that the worker holds open. */
export async function useImage<Result>(number: number, work: (image: OpenImage) => Promise<Result>): Promise<Result> {
  const image = getImage(number);
  const use = work(image);
  image.uses.add(use);
  try {
    return await use;
  } finally {
    image.uses.delete(use);
  }
}

export const getHandle = (number: number): Handle => getImage(number).handle;

export function getImage(number: number): OpenImage {
  const image = openImages.get(number);
  if (image === undefined) throw new Error(`image ${number} is not open`);
  return image;
}

/** To see that every path closes them. */
export const countOpenImages = (): number => openImages.size;
