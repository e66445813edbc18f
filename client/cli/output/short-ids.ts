const SHORT_DIGITS = 8;

/** Cuts the ids of a column to the digits that tell them apart, which commands take. */
export function shortenIds(cells: string[][], column: number): void {
  const short = shortIdsIn(cells.map((row) => row[column] ?? ''));
  for (const row of cells) row[column] = short(row[column] ?? '');
}

/** @returns what cuts the ids of such texts to the digits that tell them apart. */
export function shortIdsIn(texts: readonly string[]): (text: string) => string {
  const ids = new Set(texts.flatMap(uuidsIn));
  let digits = SHORT_DIGITS;
  while (new Set([...ids].map((id) => id.slice(0, digits))).size < ids.size) digits += 1;
  return (text) => text.replaceAll(uuids, (id) => id.slice(0, digits));
}

const uuids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function uuidsIn(text: string): string[] {
  return text.match(uuids) ?? [];
}
