export async function Empty(): Promise<void> {}
