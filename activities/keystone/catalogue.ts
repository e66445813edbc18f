import { Failure } from '../../workflows/contract/failures';
import type { CloudSettings } from './cloud-settings';
import type { CatalogueService } from './schema';

type Choice = Pick<CloudSettings, 'region' | 'regionField' | 'interface'>;

/**
 * @returns the URL of the one endpoint of a service type, by region and interface.
 * @throws Failure InvalidRequest which lists what the catalogue has; several regions where none is named are not guessed between.
 */
export function findEndpoint(catalogue: readonly CatalogueService[], type: string, choice: Choice): string {
  const all = catalogue.filter((service) => service.type === type).flatMap(({ endpoints }) => endpoints);
  const offered = all.filter((endpoint) => endpoint.interface === choice.interface);
  const regions = [...new Set(offered.map(regionOf))];
  const { region = regions.length === 1 ? regions[0] : undefined } = choice;
  const [found] = offered.filter((endpoint) => regionOf(endpoint) === region || endpoint.region === region);
  if (found !== undefined) return found.url;
  if (offered.length > 0)
    throw new Failure('InvalidRequest', {
      field: choice.regionField,
      value: region ?? 'nothing',
      allowed: `a region with a ${choice.interface} ${type} endpoint: ${regions.join(', ')}`,
    });
  const has = all.length === 0 ? [...new Set(catalogue.map((service) => service.type))] : all.map((e) => e.interface);
  throw new Failure('InvalidRequest', {
    field: 'the catalogue',
    value: `${all.length === 0 ? 'services' : `${type} endpoints`} ${[...new Set(has)].join(', ') || 'none'}`,
    allowed: `a ${choice.interface} endpoint of a service of type ${type}, in the project of the account`,
  });
}

function regionOf({ region_id, region }: CatalogueService['endpoints'][number]): string {
  return region_id ?? region ?? '';
}
