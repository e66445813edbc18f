/** Loop devices and mounts are for root. A run that promises them (CI) fails without, any other skips. */
export const describeWithMounts = process.getuid?.() === 0 || process.env['CI'] ? describe : describe.skip;
