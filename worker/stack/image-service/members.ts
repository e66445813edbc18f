import { z } from 'zod';
import { HttpError } from './http';
import { timestamp, type RecordedImage } from './record';

/** Glance's `image_member_quota`. */
const MAX_MEMBERS = 128;

const newMemberSchema = z.object({ member: z.string().min(1).max(255) });
const statusSchema = z.object({ status: z.enum(['pending', 'accepted', 'rejected']) });

export type RecordedMember = RecordedImage['members'][number];

/** @throws HttpError 403: only a shared image has members. */
export function membersOf({ visibility, members }: RecordedImage): RecordedMember[] {
  if (visibility !== 'shared') throw new HttpError(403, 'Only shared images have members.');
  return members;
}

/** @throws HttpError 404. */
export function findMember(image: RecordedImage, memberId: string): RecordedMember {
  const member = membersOf(image).find(({ member_id }) => member_id === memberId);
  if (member === undefined)
    throw new HttpError(404, `${memberId} not found in the member list of the image ${image.id}.`);
  return member;
}

/** @throws HttpError 400, 403, 409 (it is one), 413. */
export function parseNewMember(image: RecordedImage, body: unknown): RecordedMember {
  const members = membersOf(image);
  const parsed = newMemberSchema.safeParse(body);
  if (!parsed.success) throw new HttpError(400, "Expected a member in the form: {'member': 'image_id'}");
  const { member: member_id } = parsed.data;
  if (members.some((member) => member.member_id === member_id))
    throw new HttpError(409, `The member ${member_id} is duplicated for image ${image.id}`);
  if (members.length >= MAX_MEMBERS) throw new HttpError(413, `An image has at most ${MAX_MEMBERS} members.`);
  const now = timestamp();
  return { member_id, status: 'pending', created_at: now, updated_at: now };
}

/** @throws HttpError 400, 403, 404. */
export function parseEditedMember(image: RecordedImage, memberId: string, body: unknown): RecordedMember {
  const member = findMember(image, memberId);
  const parsed = statusSchema.safeParse(body);
  if (!parsed.success) throw new HttpError(400, "Expected a status in the form: {'status': 'status'}");
  return { ...member, status: parsed.data.status, updated_at: timestamp() };
}

/** A member as the API shows it. */
export function showMember(image: RecordedImage, member: RecordedMember): Record<string, unknown> {
  return { ...member, image_id: image.id, schema: '/v2/schemas/member' };
}
