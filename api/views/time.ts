/** @returns an instant as Cinder writes it: UTC without an offset, with microseconds. */
export function timeOf(iso: string): string {
  return `${iso.replace(/Z$/, '')}000`;
}
