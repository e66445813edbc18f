{{- define "ivc.labels" -}}
app.kubernetes.io/name: image-volume-cache
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pod of a worker or of the API. `args`, `component`, `resources`, `ports`, `root`. */}}
{{- define "ivc.pod" -}}
metadata:
  labels:
    {{- include "ivc.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    checksum/config: {{ .root.Values.config | toYaml | sha256sum }}
    prometheus.io/scrape: 'true'
    prometheus.io/port: {{ .ports.metrics | quote }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 45
  securityContext:
    runAsNonRoot: true
    runAsUser: 60640
    runAsGroup: 60640
    fsGroup: 60640
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: {{ ternary "api" "worker" (eq .component "api") }}
      image: '{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}'
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ .args | toJson }}
      env:
        {{- with .root.Values.temporal }}
        - { name: TEMPORAL_ADDRESS, value: {{ .address | quote }} }
        - { name: TEMPORAL_NAMESPACE, value: {{ .namespace | quote }} }
        {{- if .apiKeySecret }}
        - { name: TEMPORAL_API_KEY_FILE, value: /run/secrets/temporal/api-key }
        {{- else }}
        - { name: TEMPORAL_TLS, value: {{ .tls | quote }} }
        {{- end }}
        {{- end }}
        {{- with .root.Values.database }}
        - { name: PGHOST, value: {{ .host | quote }} }
        - { name: PGPORT, value: {{ .port | quote }} }
        - { name: PGDATABASE, value: {{ .name | quote }} }
        - { name: PGUSER, value: {{ .user | quote }} }
        - { name: PGSSLMODE, value: {{ .sslmode | quote }} }
        {{- end }}
        - { name: PGPASSWORD_FILE, value: /run/secrets/database/password }
      ports:
        {{- range $name, $port := .ports }}
        - { name: {{ $name }}, containerPort: {{ $port }} }
        {{- end }}
      startupProbe: { httpGet: { path: /livez, port: probes }, failureThreshold: 30, periodSeconds: 2 }
      livenessProbe: { httpGet: { path: /livez, port: probes } }
      readinessProbe: { httpGet: { path: /readyz, port: probes }, timeoutSeconds: 6 }
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      resources: {{- .resources | toYaml | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/image-volume-cache, readOnly: true }
        - { name: database, mountPath: /run/secrets/database, readOnly: true }
        {{- if .root.Values.temporal.apiKeySecret }}
        - { name: temporal, mountPath: /run/secrets/temporal, readOnly: true }
        {{- end }}
        {{- if and (eq .component "api") .root.Values.api.tlsSecret }}
        - { name: tls, mountPath: /run/secrets/tls, readOnly: true }
        {{- end }}
        - { name: data, mountPath: /var/lib/image-volume-cache }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - { name: config, configMap: { name: {{ .root.Release.Name }}-config } }
    - { name: database, secret: { secretName: {{ .root.Values.database.passwordSecret | quote }}, defaultMode: 0440 } }
    {{- if .root.Values.temporal.apiKeySecret }}
    - { name: temporal, secret: { secretName: {{ .root.Values.temporal.apiKeySecret | quote }}, defaultMode: 0440 } }
    {{- end }}
    {{- if and (eq .component "api") .root.Values.api.tlsSecret }}
    - { name: tls, secret: { secretName: {{ .root.Values.api.tlsSecret | quote }}, defaultMode: 0440 } }
    {{- end }}
    - { name: tmp, emptyDir: {} }
    {{- if ne .component "host" }}
    - { name: data, emptyDir: {} }
    {{- end }}
{{- end }}
