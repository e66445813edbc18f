import { isForMembers, rightTo, type ImageRight } from '../../../../activities/glance/image-rights';
import type { ImageMember } from '../../../../activities/glance/image-service';
import { imageSchema } from '../../../../activities/glance/schema';
import type { ProjectId } from '../../../../workflows/contract/ids';
import { imageStatuses, type Image, type ImageStatus } from '../../../../workflows/contract/image';

const owner = 'owner' as ProjectId;
const other = 'other' as ProjectId;
const third = 'third' as ProjectId;

function imageWith(fields: object): Image {
  const now = '2026-01-01T00:00:00Z';
  return imageSchema.parse({ id: 'an-id', status: 'active', created_at: now, updated_at: now, owner, ...fields });
}
const member = (projectId: ProjectId, status: ImageMember['status']): ImageMember => ({ projectId, status });

const memberships = {
  none: [],
  pending: [member(other, 'pending')],
  accepted: [member(third, 'pending'), member(other, 'accepted')],
  rejected: [member(other, 'rejected')],
  another: [member(third, 'accepted')],
} satisfies Record<string, ImageMember[]>;
type Membership = keyof typeof memberships;

/** Whether an image is there for a project that does not own it, by visibility and membership. */
const visible: Record<string, Record<Membership, boolean>> = {
  public: { none: true, pending: true, accepted: true, rejected: true, another: true },
  community: { none: true, pending: true, accepted: true, rejected: true, another: true },
  shared: { none: false, pending: true, accepted: true, rejected: true, another: false },
  // Members of one that was shared before stay in Glance's database.
  private: { none: false, pending: false, accepted: false, rejected: false, another: false },
  unheard: { none: false, pending: false, accepted: false, rejected: false, another: false },
};

const rights: Record<ImageStatus, ImageRight> = {
  queued: 'see',
  saving: 'see',
  uploading: 'see',
  importing: 'see',
  active: 'use',
  deactivated: 'see',
  killed: 'see',
  deleted: 'none',
  pending_delete: 'none',
};

const cells = Object.entries(visible).flatMap(([visibility, row]) =>
  Object.entries(row).flatMap(([membership, isVisible]) =>
    imageStatuses.map((status) => ({
      visibility,
      membership: membership as Membership,
      status,
      expected: { owner: rights[status], other: isVisible ? rights[status] : 'none' },
    })),
  ),
);

it.each(cells)(
  '$visibility, membership $membership, $status: $expected',
  ({ visibility, membership, status, expected }) => {
    for (const more of [{}, { os_hidden: true }, { protected: true }, { updated_at: '1970-01-01T00:00:00Z' }]) {
      const image = imageWith({ visibility, status, ...more });
      expect(rightTo(image, owner, memberships[membership])).toBe(expected.owner);
      expect(rightTo(image, other, memberships[membership])).toBe(expected.other);
    }
  },
);

it.each(Object.keys(visible))('an image that nobody owns is there for everybody, %s', (visibility) => {
  expect(rightTo(imageWith({ visibility, owner: null }), other, [])).toBe('use');
});

it('members decide about a shared image, for whoever does not own it', () => {
  const asked = Object.keys(visible).map((visibility) =>
    [owner, other].map((projectId) => isForMembers(imageWith({ visibility }), projectId)),
  );
  expect(asked).toEqual([
    [false, false],
    [false, false],
    [false, true],
    [false, false],
    [false, false],
  ]);
  expect(isForMembers(imageWith({ visibility: 'shared', owner: null }), other)).toBe(false);
});
