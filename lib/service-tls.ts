/** How an HTTPS service is known and knows us, as `node:tls` has it: PEM texts. Left out: the system's certificates, and no client certificate. */
export interface ServiceTls {
  ca?: string;
  cert?: string;
  key?: string;
  rejectUnauthorized?: boolean;
}
