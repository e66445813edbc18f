const SHORT_DIGITS = 8;

/** Cuts the ids of a column to the digits that tell them apart, which commands take. */
export function shortenIds(cells: string[][], column: number): void {
  const ids = new Set(cells.flatMap((row) => uuidsIn(row[column] ?? '')));
  let digits = SHORT_DIGITS;
  while (new Set([...ids].map((id) => id.slice(0, digits))).size < ids.size) digits += 1;
  for (const row of cells) row[column] = (row[column] ?? '').replaceAll(uuids, (id) => id.slice(0, digits));
}

const uuids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function uuidsIn(text: string): string[] {
  return text.match(uuids) ?? [];
}
