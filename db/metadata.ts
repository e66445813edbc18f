/** @returns the entries after a change, and the keys that it has set to something else or removed. */
export function changeEntries(
  before: Readonly<Record<string, string>>,
  change: { set: Record<string, string> | undefined; unset: readonly string[] | undefined },
): { entries: Record<string, string>; set: string[]; unset: string[] } {
  const without = new Set(change.unset);
  const entries = Object.fromEntries(Object.entries({ ...before, ...change.set }).filter(([key]) => !without.has(key)));
  return {
    entries,
    set: Object.keys(entries).filter((key) => entries[key] !== before[key]),
    unset: Object.keys(before).filter((key) => !Object.hasOwn(entries, key)),
  };
}
