import { KiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import { quote } from '../../workflows/contract/words';

/** Of a name, as Cinder's column holds it; Glance's own names are no longer either. */
const MAX_NAME_CHARACTERS = 255;
/** Twice what Glance lets an image have by default (`image_property_quota`). */
const MAX_ENTRIES = 256;
/** Of all names and values in UTF-8: as much as Cinder's column holds of a single value. They are in every volume's row. */
const MAX_BYTES = 64 * KiB;

/** Cinder's name, with Python's words. */
const SIGNATURE_VERIFIED = 'signature_verified';

/**
 * A volume's `volume_image_metadata` as Cinder shows it: all the image's properties, and what its record says of the bytes, as strings. Fields that
 * the record does not have are left out, and the record's own words win over a property of the same name.
 * @param isVerified whether the bytes have the image's signature; undefined where nobody looks at it.
 * @throws ImageUnsupported when it does not fit (final): a guest without one of its `hw_` properties would boot otherwise than its image says, or not at all.
 */
export function imageMetadataOf(image: Image, isVerified?: boolean): Record<string, string> {
  const own = {
    image_id: image.id,
    image_name: image.name === '' ? null : image.name,
    checksum: image.checksum,
    container_format: image.containerFormat,
    disk_format: image.diskFormat,
    min_disk: image.minDiskGiB,
    min_ram: image.minRamMiB,
    size: image.sizeBytes,
  };
  const said = Object.entries(own).flatMap(([name, value]) => (value === null ? [] : [[name, String(value)] as const]));
  const metadata = new Map([...Object.entries(image.properties), ...said]);
  // Nobody but us says so.
  metadata.delete(SIGNATURE_VERIFIED);
  if (isVerified !== undefined) metadata.set(SIGNATURE_VERIFIED, isVerified ? 'True' : 'False');
  checkFits(image, metadata);
  return Object.fromEntries(metadata);
}

function checkFits({ id: imageId }: Image, metadata: ReadonlyMap<string, string>): void {
  const refuse = (found: string, allowed: string) => new Failure('ImageUnsupported', { imageId, found, allowed });
  if (metadata.size > MAX_ENTRIES)
    throw refuse(`described by ${metadata.size} properties`, `at most ${MAX_ENTRIES} properties`);
  let bytes = 0;
  for (const [name, value] of metadata) {
    const characters = Array.from(name).length;
    if (characters > MAX_NAME_CHARACTERS)
      throw refuse(
        `described by a property ${quote(name)} whose name has ${characters} characters`,
        `names of at most ${MAX_NAME_CHARACTERS}`,
      );
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > MAX_BYTES)
    throw refuse(`described by properties of ${bytes} bytes, names and values`, `at most ${MAX_BYTES}`);
}
