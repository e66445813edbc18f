// PLACEHOLDER by the lead so that the whole can run once: to be replaced by its owner.
export interface ImageCatalog {
  close(): Promise<void>;
}
export function connectImages(_endpoint: string): ImageCatalog {
  return { close: async () => undefined };
}
