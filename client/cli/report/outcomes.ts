/** Outcomes in the order in which they are stacked and listed: what the cache served first. */
export const reportOutcomes = ['hit', 'joined', 'miss', 'bypassed', 'refused', 'failed'] as const;
