/** @returns the result of `operation`; undefined where it fails with an error of `type`, such as one for what is not there. */
export async function unlessThrown<Result>(
  type: new (...args: never[]) => Error,
  operation: Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (error instanceof type) return undefined;
    throw error;
  }
}
