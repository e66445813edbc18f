import { InvalidArgumentError } from 'commander';

/** Work of a worker process: workflows and the inventory, the backends that it holds, or work on its host. */
export const roles = ['control', 'backend', 'host'] as const;
export type Role = (typeof roles)[number];

/** @returns the roles of a comma-separated list, as the command line gives it. */
export function parseRoles(given: string): Role[] {
  const names = given.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !roles.some((role) => role === name));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`Got ${unknown === '' ? 'nothing' : unknown}, allowed are ${roles.join(', ')}.`);
  return roles.filter((role) => names.includes(role));
}
