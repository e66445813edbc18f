/** A test's own id of a branded kind: the one place where tests make them out of plain text. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
export function brand<Id extends string>(text: string): Id {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return text as Id;
}
