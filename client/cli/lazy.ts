import type * as cinderImports from '../cinder-imports';
import type * as connection from '../connection';
import type * as doctor from './doctor/examine';
import type * as eviction from '../eviction';
import type * as known from './known';
import type * as limits from './limit-values';
import type * as progress from '../progress';
import type * as quotas from '../quotas';
import type * as reconcile from '../reconcile';
import type * as refresh from '../refresh';
import type * as reportHtml from './report/html';
import type * as reportText from './report/text';
import type * as settings from '../settings';
import type * as shares from '../share-snapshots';
import type * as snapshots from '../snapshots';
import type * as stack from './stack';
import type * as uploads from '../uploads';
import type * as volumes from '../volumes';
import { quickenValidation } from './quick-validation';

/**
 * Modules that a verb needs beyond its options, loaded when it is run: `--help` loads none, and a list nothing of Temporal.
 * `require`, since an `import()` would need file extensions that the tests' loader does not know.
 */
export const lazy = {
  get connection(): typeof connection {
    quickenValidation();
    return require('../connection');
  },
  get cinderImports(): typeof cinderImports {
    return require('../cinder-imports');
  },
  get doctor(): typeof doctor {
    return require('./doctor/examine');
  },
  get eviction(): typeof eviction {
    return require('../eviction');
  },
  get known(): typeof known {
    return require('./known');
  },
  get limits(): typeof limits {
    return require('./limit-values');
  },
  get progress(): typeof progress {
    return require('../progress');
  },
  get quotas(): typeof quotas {
    return require('../quotas');
  },
  get reconcile(): typeof reconcile {
    return require('../reconcile');
  },
  get refresh(): typeof refresh {
    return require('../refresh');
  },
  get reportHtml(): typeof reportHtml {
    return require('./report/html');
  },
  get reportText(): typeof reportText {
    return require('./report/text');
  },
  get settings(): typeof settings {
    return require('../settings');
  },
  get shares(): typeof shares {
    return require('../share-snapshots');
  },
  get snapshots(): typeof snapshots {
    return require('../snapshots');
  },
  get stack(): typeof stack {
    return require('./stack');
  },
  get uploads(): typeof uploads {
    return require('../uploads');
  },
  get volumes(): typeof volumes {
    return require('../volumes');
  },
};
