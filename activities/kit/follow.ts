import { z } from 'zod';
import type { BackendName, FollowId } from '../../workflows/contract/ids';
import { followNamePattern } from '../../workflows/contract/refresh';

export const followName = z
  .string('a name of letters, digits, and . _ + -')
  .regex(followNamePattern, 'a name of at most 64 letters, digits, and . _ + -');

export interface FollowToCheck {
  followId: FollowId;
  name: string;
  backend: BackendName;
}
