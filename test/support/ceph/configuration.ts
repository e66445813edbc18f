export interface CephConfiguration {
  directory: string;
  fsid: string;
  /** `127.0.0.1:PORT`. */
  monAddress: string;
  /** First of the ports that the manager and the OSD try in turn. */
  firstPort: number;
  osdBytes: number;
}

const PORTS_TRIED = 400;

/**
 * One `ceph.conf` for daemons and clients: `$name` and `$id` are Ceph's own, so each user finds its own keyring. Options that one small node needs
 * are set (no redundancy, no pid files, no sockets, little memory); those that tests and benches measure, such as `paxos_propose_interval`, are not.
 */
export function formatConfiguration({ directory, fsid, monAddress, firstPort, osdBytes }: CephConfiguration): string {
  return `[global]
fsid = ${fsid}
mon host = [v2:${monAddress}]
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
ms bind port min = ${firstPort}
ms bind port max = ${firstPort + PORTS_TRIED}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${directory}/keyrings/$name
admin socket =
pid file =
run dir = ${directory}
crash dir = ${directory}/crash
log file = ${directory}/log/$name.log
mon cluster log file = ${directory}/log/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rbd default features = 61
rbd default clone format = 2
[client]
log file =
[mon]
mon data = ${directory}/mon
keyring = ${directory}/keyrings/mon.
mgr initial modules =
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 2
mon data avail crit = 1
[mgr]
mgr data = ${directory}/mgr
[osd]
osd data = ${directory}/osd
osd objectstore = bluestore
osd memory target = ${1536 * 1024 ** 2}
bluestore block size = ${osdBytes}
bluestore block create = true
osd scrub load threshold = 0.01
osd max scrubs = 1
`;
}

/** Rights of a user, by type of daemon, as `ceph auth` takes them. */
export type Caps = Partial<Record<'mon' | 'mgr' | 'osd', string>>;

/** @returns a stanza of a keyring file. */
export function formatKey(entity: string, key: string, caps: Caps): string {
  const lines = Object.entries(caps).map(([type, allowed]) => `\tcaps ${type} = "${allowed}"\n`);
  return `[${entity}]\n\tkey = ${key}\n${lines.join('')}`;
}
