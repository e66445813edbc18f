interface Part {
  stop(this: void): Promise<unknown>;
}

const parts: Part[] = [];

/** Remembers what is to be stopped at the end, or when somebody interrupts. */
export function started<Started extends Part>(part: Started): Started {
  parts.push(part);
  return part;
}

export const countParts = (): number => parts.length;

let stopping: Promise<void> = Promise.resolve();

/** The last one first, until so many are left; one call after the other, for an interrupt may come while the end is near. */
export async function stopDownTo(count: number): Promise<void> {
  const before = stopping;
  stopping = (async () => {
    await before.catch(() => undefined);
    while (parts.length > count) await parts.pop()?.stop();
  })();
  await stopping;
}
