import { tmpdir } from 'node:os';
import { describeBackend } from './backend-contract';
import { describeReplacements } from './replacement-contract';
import { describeSnapshots } from './snapshot-contract';
import { describeFileBackend, makeFilePlace } from './file-backend-contract';

const makePlace = async () => await makeFilePlace(tmpdir(), 'overlay');

describeSnapshots('the file backend with overlays', makePlace);
describeReplacements('the file backend with overlays', makePlace);
describeBackend('the file backend with overlays', makePlace);
describeFileBackend('the directory of a file backend with overlays', makePlace, 'overlay');
