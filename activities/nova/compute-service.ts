import { z } from 'zod';
import { parseJson } from '../../lib/json';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { VolumeNews } from '../../workflows/contract/server-events';
import type { Identity } from '../keystone/identity';
import { createServiceRequests, type ServiceAnswer, type ServiceRequests } from '../keystone/requests';

/** Events that servers are told of a volume that they use. */
export interface ServerEvents extends VolumeNews {
  volumeId: VolumeId;
  serverIds: readonly string[];
}

/** The compute service of a cloud. */
export interface ComputeService {
  /**
   * Where the catalogue has none, nothing is told. @returns ids of servers that it does not know, as none of another project to an account that is no
   * administrator there. @throws Failure ComputeServiceUnavailable; as `Identity`.
   */
  tell(events: ServerEvents): Promise<{ unknown: string[] }>;
  close(): Promise<void>;
}

/** From which on Nova knows them. Source: `nova.api.openstack.compute.schemas.server_external_events`. */
const since: Record<VolumeNews['event'], string> = { 'volume-extended': '2.51', 'volume-reimaged': '2.93' };
const answerSchema = z.object({ events: z.array(z.object({ server_uuid: z.string(), code: z.number() })) });
const PATH = '/os-server-external-events';

/** Nova, found in the catalogue whenever it is told something. */
export function createComputeService(
  identity: Pick<Identity, 'getToken' | 'findServiceEndpoint' | 'tls'>,
): ComputeService {
  let opened: ServiceRequests | undefined;
  const openAt = async (endpoint: string): Promise<ServiceRequests> => {
    if (opened?.service === endpoint) return opened;
    await opened?.close();
    opened = createServiceRequests(endpoint, {
      name: 'nova',
      tls: identity.tls,
      failure: 'ComputeServiceUnavailable',
    });
    return opened;
  };
  return {
    async tell({ event, status, volumeId, serverIds }) {
      const endpoint = await identity.findServiceEndpoint('compute');
      if (endpoint === undefined || serverIds.length === 0) return { unknown: [] };
      const events = serverIds.map((id) => ({ name: event, server_uuid: id, tag: volumeId, status }));
      const requests = await openAt(endpoint.replace(/\/+$/, ''));
      const send = async (token: string): Promise<ServiceAnswer> =>
        await requests.exchange({
          method: 'POST',
          path: PATH,
          body: JSON.stringify({ events }),
          microversion: `compute ${since[event]}`,
          token,
        });
      const token = await identity.getToken();
      const first = await send(token.reveal());
      const answer = first.status === 401 ? await send((await identity.getToken(token)).reveal()) : first;
      // 207: it has not told all of them.
      if (answer.status === 200 || answer.status === 207) return { unknown: unknownIn(answer, requests.service) };
      if (answer.status === 404) return { unknown: [...serverIds] };
      throw new Failure('ComputeServiceUnavailable', { service: requests.service, cause: describe(answer) });
    },
    close: async () => await opened?.close(),
  };
}

/** One that is on no host, 422, has the volume as it is when it starts again. */
function unknownIn({ text }: ServiceAnswer, service: string): string[] {
  const parsed = answerSchema.safeParse(parseJson(text));
  if (!parsed.success) throw new Failure('ComputeServiceUnavailable', { service, cause: 'its answer tells no events' });
  return parsed.data.events.filter(({ code }) => code === 404).map(({ server_uuid: id }) => id);
}

const MAX_TEXT_CHARACTERS = 500;

function describe({ status, text }: ServiceAnswer): string {
  const hint = status === 403 ? ` (its policy does not let this account create external events)` : '';
  return `it answers ${status} to POST ${PATH}${hint}: ${text.slice(0, MAX_TEXT_CHARACTERS)}`;
}
