import { demandJson, imageOf, type Exchange, type Service } from './exchange';
import { HttpError, readJson, sendEmpty, sendJson } from './http';
import { findMember, membersOf, parseEditedMember, parseNewMember, showMember, type RecordedMember } from './members';
import type { RecordedImage } from './record';

export function showMembers(service: Service, exchange: Exchange): void {
  const image = imageOf(service, exchange);
  const members = membersOf(image).map((member) => showMember(image, member));
  sendJson(exchange.response, { body: { members, schema: '/v2/schemas/members' } });
}

export function showOneMember(service: Service, exchange: Exchange): void {
  const image = imageOf(service, exchange);
  sendJson(exchange.response, { body: showMember(image, findMember(image, memberIdOf(exchange))) });
}

export async function addMember(service: Service, exchange: Exchange): Promise<void> {
  demandJson(exchange.request);
  const body = await readJson(exchange.request);
  const image = imageOf(service, exchange);
  const member = parseNewMember(image, body);
  await keepMembers(service, image, [...image.members, member]);
  sendJson(exchange.response, { body: showMember(image, member) });
}

export async function editMember(service: Service, exchange: Exchange): Promise<void> {
  demandJson(exchange.request);
  const body = await readJson(exchange.request);
  const image = imageOf(service, exchange);
  const edited = parseEditedMember(image, memberIdOf(exchange), body);
  const members = image.members.map((member) => (member.member_id === edited.member_id ? edited : member));
  await keepMembers(service, image, members);
  sendJson(exchange.response, { body: showMember(image, edited) });
}

export async function removeMember(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  const removed = findMember(image, memberIdOf(exchange));
  await keepMembers(
    service,
    image,
    image.members.filter((member) => member !== removed),
  );
  sendEmpty(exchange.response);
}

/** `updated_at` stays, as in Glance. */
async function keepMembers({ catalog }: Service, image: RecordedImage, members: RecordedMember[]): Promise<void> {
  await catalog.put({ ...image, members });
}

function memberIdOf({ captured }: Exchange): string {
  try {
    return decodeURIComponent(captured[1] ?? '');
  } catch {
    throw new HttpError(400, 'Malformed member id.');
  }
}
