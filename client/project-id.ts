import { isStorableText } from '../workflows/contract/storable-text';
import { quote } from '../workflows/contract/words';
import { failureError } from './errors';

const MAX_PROJECT_CHARACTERS = 64;

/** A workflow's id holds a project's: an invalid one is refused before anything is started. @throws ImageVolumeCacheError `InvalidRequest` */
export function checkProjectId(projectId: string): void {
  if (projectId !== '' && projectId.length <= MAX_PROJECT_CHARACTERS && isStorableText(projectId)) return;
  const allowed = `a project's id of at most ${MAX_PROJECT_CHARACTERS} characters`;
  throw failureError('InvalidRequest', { field: 'projectId', value: quote(projectId), allowed });
}
