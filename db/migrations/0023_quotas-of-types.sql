CREATE TABLE "quota_classes" (
	"quota_class" text NOT NULL,
	"quota" text NOT NULL,
	"most" bigint,
	"set_by" text NOT NULL,
	"set_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "quota_classes_quota_class_quota_pk" PRIMARY KEY("quota_class","quota"),
	CONSTRAINT "quota_classes_quota" CHECK (("quota_classes"."quota" in ('volumes', 'snapshots', 'bytes', 'volumeBytes', 'backups', 'backupBytes', 'groups') or "quota_classes"."quota" ~ '^(volumes|snapshots|bytes):.')),
	CONSTRAINT "quota_classes_most" CHECK ("quota_classes"."most" is null or "quota_classes"."most" >= 0)
);
--> statement-breakpoint
ALTER TABLE "project_quotas" DROP CONSTRAINT "project_quotas_quota";--> statement-breakpoint
CREATE INDEX "volumes_project_type" ON "volumes" USING btree ("project_id","volume_type") WHERE "volumes"."volume_type" is not null and "volumes"."state" <> 'deleted';--> statement-breakpoint
ALTER TABLE "project_quotas" ADD CONSTRAINT "project_quotas_quota" CHECK (("project_quotas"."quota" in ('volumes', 'snapshots', 'bytes', 'volumeBytes', 'backups', 'backupBytes', 'groups') or "project_quotas"."quota" ~ '^(volumes|snapshots|bytes):.'));--> statement-breakpoint
-- What holds for a project: what was set for it, else for the class `default`, else what the configuration has.
CREATE FUNCTION quota_limits(of_project text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce((SELECT i.default_quotas FROM installation i), '{}') ||
    coalesce((SELECT jsonb_object_agg(c.quota, c.most) FROM quota_classes c WHERE c.quota_class = 'default'), '{}') ||
    coalesce((SELECT jsonb_object_agg(q.quota, q.most) FROM project_quotas q WHERE q.project_id = of_project), '{}')
$$;--> statement-breakpoint
-- Which quota of a volume type, null for the type of volumes without one, does not allow a project so much more of it; null where all do. It takes its turn
-- with the project's creates, as `quota_room` says, and counts rows: of one type a project has no more than that quota allows.
CREATE FUNCTION type_quota_room(limits jsonb, of_project text, of_type text, added_volumes bigint, added_bytes bigint, added_snapshots bigint)
  RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  type_name text := coalesce(of_type, '__DEFAULT__');
  most_volumes bigint := (limits ->> ('volumes:' || type_name))::bigint;
  most_bytes bigint := (limits ->> ('bytes:' || type_name))::bigint;
  most_snapshots bigint := (limits ->> ('snapshots:' || type_name))::bigint;
  used_volumes bigint;
  used_bytes bigint;
  used_snapshots bigint := 0;
  used_snapshot_bytes bigint := 0;
BEGIN
  IF most_volumes IS NULL AND most_bytes IS NULL AND most_snapshots IS NULL THEN RETURN null; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  SELECT u.volumes, u.bytes, u.snapshots, u.snapshot_bytes INTO used_volumes, used_bytes, used_snapshots, used_snapshot_bytes
    FROM type_usage(of_project, of_type) u;
  IF coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) THEN used_bytes := used_bytes + used_snapshot_bytes; END IF;
  IF added_volumes > 0 AND used_volumes + added_volumes > most_volumes THEN
    RETURN jsonb_build_object('quota', 'volumes', 'volumeType', type_name, 'limit', most_volumes, 'used', used_volumes, 'asked', added_volumes);
  ELSIF added_bytes > 0 AND used_bytes + added_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'volumeType', type_name, 'limit', most_bytes, 'used', used_bytes, 'asked', added_bytes);
  ELSIF added_snapshots > 0 AND used_snapshots + added_snapshots > most_snapshots THEN
    RETURN jsonb_build_object('quota', 'snapshots', 'volumeType', type_name, 'limit', most_snapshots, 'used', used_snapshots, 'asked', added_snapshots);
  END IF;
  RETURN null;
END $$;--> statement-breakpoint
-- What a project has of a volume type: its volumes, and the snapshots of its volumes. A snapshot whose volume's row is gone is of none.
CREATE FUNCTION type_usage(of_project text, of_type text, OUT volumes bigint, OUT bytes bigint, OUT snapshots bigint, OUT snapshot_bytes bigint)
  LANGUAGE plpgsql AS $$
BEGIN
  IF of_type IS NULL THEN
    SELECT count(*), coalesce(sum(promised_bytes(v.state, v.state_before_delete, v.size_bytes)), 0) INTO volumes, bytes FROM volumes v
      WHERE v.project_id = of_project AND v.volume_type IS NULL AND v.state <> 'deleted' AND counts_for_project(v.state, v.state_before_delete);
    SELECT count(*), coalesce(sum(s.size_bytes), 0) INTO snapshots, snapshot_bytes FROM snapshots s JOIN volumes v ON v.id = s.volume_id
      WHERE s.project_id = of_project AND v.volume_type IS NULL AND counts_snapshot(s.state, s.state_before_delete, s.for_copy);
  ELSE
    SELECT count(*), coalesce(sum(promised_bytes(v.state, v.state_before_delete, v.size_bytes)), 0) INTO volumes, bytes FROM volumes v
      WHERE v.project_id = of_project AND v.volume_type = of_type AND v.state <> 'deleted' AND counts_for_project(v.state, v.state_before_delete);
    SELECT count(*), coalesce(sum(s.size_bytes), 0) INTO snapshots, snapshot_bytes FROM snapshots s JOIN volumes v ON v.id = s.volume_id
      WHERE s.project_id = of_project AND v.volume_type = of_type AND counts_snapshot(s.state, s.state_before_delete, s.for_copy);
  END IF;
END $$;--> statement-breakpoint
-- As the one of four, which workers of an earlier version ask, and within the quotas of the volumes' type: null for that of volumes without one. The type of
-- volumes that an earlier version makes is not said, and no quota of a type holds those back.
CREATE FUNCTION quota_room(asks boolean, of_project text, ids uuid[], each_bytes bigint, of_type text)
  RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  limits jsonb;
  most_volumes bigint;
  most_bytes bigint;
  most_volume_bytes bigint;
  of_types boolean;
  wanted_volumes bigint;
  wanted_bytes bigint;
  used_volumes bigint;
  used_bytes bigint;
BEGIN
  IF asks IS NOT TRUE THEN RETURN null; END IF;
  limits := quota_limits(of_project);
  most_volumes := (limits ->> 'volumes')::bigint;
  most_bytes := (limits ->> 'bytes')::bigint;
  most_volume_bytes := (limits ->> 'volumeBytes')::bigint;
  of_types := of_type IS DISTINCT FROM '' AND (limits ? ('volumes:' || coalesce(of_type, '__DEFAULT__')) OR limits ? ('bytes:' || coalesce(of_type, '__DEFAULT__')));
  IF most_volumes IS NULL AND most_bytes IS NULL AND most_volume_bytes IS NULL AND NOT of_types THEN RETURN null; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  SELECT cardinality(ids) - count(*), cardinality(ids) * coalesce(each_bytes, 0) - coalesce(sum(promised_bytes(v.state, v.state_before_delete, v.size_bytes)), 0)
    INTO wanted_volumes, wanted_bytes FROM volumes v
    WHERE v.id = ANY (ids) AND v.project_id = of_project AND counts_for_project(v.state, v.state_before_delete);
  SELECT coalesce(sum(u.volumes), 0) INTO used_volumes FROM project_usage u WHERE u.project_id = of_project;
  used_bytes := quota_bytes_of(of_project);
  IF (wanted_volumes > 0 OR wanted_bytes > 0) AND each_bytes > most_volume_bytes THEN
    RETURN jsonb_build_object('quota', 'volumeBytes', 'limit', most_volume_bytes, 'used', 0, 'asked', each_bytes);
  ELSIF wanted_volumes > 0 AND used_volumes + wanted_volumes > most_volumes THEN
    RETURN jsonb_build_object('quota', 'volumes', 'limit', most_volumes, 'used', used_volumes, 'asked', wanted_volumes);
  ELSIF wanted_bytes > 0 AND used_bytes + wanted_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', wanted_bytes);
  END IF;
  IF of_types THEN RETURN type_quota_room(limits, of_project, of_type, wanted_volumes, wanted_bytes, 0); END IF;
  RETURN null;
END $$;--> statement-breakpoint
CREATE OR REPLACE FUNCTION quota_room(asks boolean, of_project text, ids uuid[], each_bytes bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  RETURN quota_room(asks, of_project, ids, each_bytes, '');
END $$;--> statement-breakpoint
-- As before, within the quotas of the class `default` too, and of the type of the snapshot's volume, null for that of volumes without one.
CREATE FUNCTION snapshot_quota_room(asks boolean, of_project text, snapshot uuid, size_bytes bigint, of_type text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  limits jsonb;
  counted_bytes bigint := 0;
  used_snapshots bigint;
  used_bytes bigint;
BEGIN
  IF asks IS NOT TRUE THEN RETURN null; END IF;
  limits := quota_limits(of_project);
  IF NOT EXISTS (SELECT FROM jsonb_each(limits) l WHERE l.value <> 'null' AND l.key ~ '^(snapshots|bytes)') THEN RETURN null; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  IF EXISTS (SELECT FROM snapshots s WHERE s.id = snapshot AND counts_snapshot(s.state, s.state_before_delete, s.for_copy)) THEN RETURN null; END IF;
  IF coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) THEN counted_bytes := size_bytes; END IF;
  SELECT coalesce(sum(u.snapshots), 0) INTO used_snapshots FROM project_usage u WHERE u.project_id = of_project;
  used_bytes := quota_bytes_of(of_project);
  IF used_snapshots + 1 > (limits ->> 'snapshots')::bigint THEN
    RETURN jsonb_build_object('quota', 'snapshots', 'limit', (limits ->> 'snapshots')::bigint, 'used', used_snapshots, 'asked', 1);
  ELSIF counted_bytes > 0 AND used_bytes + counted_bytes > (limits ->> 'bytes')::bigint THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', (limits ->> 'bytes')::bigint, 'used', used_bytes, 'asked', counted_bytes);
  END IF;
  IF of_type = '' THEN RETURN null; END IF;
  RETURN type_quota_room(limits, of_project, of_type, 0, counted_bytes, 1);
END $$;--> statement-breakpoint
CREATE OR REPLACE FUNCTION snapshot_quota_room(asks boolean, of_project text, snapshot uuid, size_bytes bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  RETURN snapshot_quota_room(asks, of_project, snapshot, size_bytes, '');
END $$;--> statement-breakpoint
-- As before, within the quotas of the class `default` and of the volume's type too.
CREATE OR REPLACE FUNCTION transfer_quota_room(of_project text, of_volume uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  room jsonb;
  limits jsonb := quota_limits(of_project);
  most_snapshots bigint := (limits ->> 'snapshots')::bigint;
  most_bytes bigint := (limits ->> 'bytes')::bigint;
  of_type text;
  volume_bytes bigint;
  wanted_snapshots bigint;
  wanted_bytes bigint;
  used_snapshots bigint;
  used_bytes bigint;
BEGIN
  SELECT v.size_bytes, v.volume_type INTO volume_bytes, of_type FROM volumes v WHERE v.id = of_volume;
  room := quota_room(true, of_project, ARRAY[of_volume], volume_bytes);
  IF room IS NOT NULL THEN RETURN room; END IF;
  SELECT count(*), coalesce(sum(s.size_bytes), 0) INTO wanted_snapshots, wanted_bytes FROM snapshots s
    WHERE s.volume_id = of_volume AND counts_snapshot(s.state, s.state_before_delete, s.for_copy);
  IF coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) IS FALSE THEN wanted_bytes := 0; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  SELECT coalesce(sum(u.snapshots), 0) INTO used_snapshots FROM project_usage u WHERE u.project_id = of_project;
  used_bytes := quota_bytes_of(of_project);
  IF wanted_snapshots > 0 AND used_snapshots + wanted_snapshots > most_snapshots THEN
    RETURN jsonb_build_object('quota', 'snapshots', 'limit', most_snapshots, 'used', used_snapshots, 'asked', wanted_snapshots);
  ELSIF wanted_bytes > 0 AND used_bytes + volume_bytes + wanted_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', volume_bytes + wanted_bytes);
  END IF;
  RETURN type_quota_room(limits, of_project, of_type, 1, volume_bytes + wanted_bytes, wanted_snapshots);
END $$;
