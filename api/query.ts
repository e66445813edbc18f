/** A query as it is read: of a key that comes twice the last one. */
export type Query = Record<string, string | undefined>;

/** Source: `strutils.bool_from_string`. */
export function isTrue(text: string | undefined): boolean {
  return ['1', 't', 'true', 'on', 'y', 'yes'].includes(text?.trim().toLowerCase() ?? '');
}
