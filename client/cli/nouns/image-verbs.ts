import type { Command } from 'commander';
import { registerImageDelete } from '../commands/image-delete';
import { registerImageList } from '../commands/image-list';
import { registerImageShow } from '../commands/image-show';
import { registerImageUpload } from '../commands/image-upload';

export function registerImageVerbs(image: Command): void {
  registerImageList(image);
  registerImageShow(image);
  registerImageUpload(image);
  registerImageDelete(image);
}
