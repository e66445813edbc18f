/** A backend's report of itself, by which one is chosen for a volume type. Source: reports of Cinder's drivers. */
export interface PoolCapabilities {
  volume_backend_name: string;
  vendor_name: string;
  driver_version: string;
  storage_protocol: string;
  multiattach: boolean;
  thin_provisioning_support: boolean;
  thick_provisioning_support: boolean;
  qos_support: boolean;
  replication_enabled: boolean;
  online_extend_support: boolean;
}

export function poolCapabilitiesOf(backend: string, driver: string): PoolCapabilities {
  return {
    volume_backend_name: backend,
    vendor_name: 'Open Source',
    driver_version: '1.0',
    storage_protocol: driver === 'rbd' ? 'ceph' : driver,
    multiattach: true,
    thin_provisioning_support: true,
    thick_provisioning_support: false,
    qos_support: false,
    replication_enabled: false,
    online_extend_support: true,
  };
}
