/** Undo functions for all that a set-up has made. */
export interface Undos {
  after: (undo: () => unknown) => void;
  /** Runs each once, the last first, whatever another one throws. @throws the first error. */
  run: () => Promise<void>;
}

export function createUndos(): Undos {
  const undos: (() => unknown)[] = [];
  return {
    after: (undo) => void undos.push(undo),
    run: async () => {
      const errors: unknown[] = [];
      for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
        try {
          await undo();
        } catch (error) {
          errors.push(error);
        }
      }
      if (errors.length > 0) throw errors[0];
    },
  };
}

/** @returns what `make` makes; its leftovers are taken down when it fails. */
export async function undoneOnFailure<Made>(make: (undos: Undos) => Promise<Made>): Promise<Made> {
  const undos = createUndos();
  try {
    return await make(undos);
  } catch (error) {
    await undos.run().catch(() => undefined);
    throw error;
  }
}
