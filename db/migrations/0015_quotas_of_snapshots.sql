ALTER TABLE "project_quotas" DROP CONSTRAINT "project_quotas_quota";--> statement-breakpoint
ALTER TABLE "installation" ADD COLUMN "snapshot_bytes_count" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "project_usage" ADD COLUMN "snapshots" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "project_usage" ADD COLUMN "snapshot_bytes" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "snapshots" ADD COLUMN "for_copy" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "project_quotas" ADD CONSTRAINT "project_quotas_quota" CHECK ("project_quotas"."quota" in ('volumes', 'snapshots', 'bytes', 'volumeBytes'));--> statement-breakpoint
-- Whether a snapshot counts against its project's quotas: as a volume, and never one that is taken for a copy.
CREATE FUNCTION counts_snapshot(state text, state_before_delete text, for_copy boolean) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT NOT for_copy AND counts_for_project(state, state_before_delete)
$$;--> statement-breakpoint
CREATE FUNCTION add_snapshot_usage(of_project text, snapshot uuid, added integer, added_bytes bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO project_usage AS u (project_id, shard, volumes, bytes, snapshots, snapshot_bytes)
  SELECT of_project, promise_shard(snapshot), 0, 0, added, added_bytes WHERE added <> 0 OR added_bytes <> 0
  ON CONFLICT (project_id, shard) DO UPDATE SET snapshots = u.snapshots + excluded.snapshots, snapshot_bytes = u.snapshot_bytes + excluded.snapshot_bytes
$$;--> statement-breakpoint
CREATE FUNCTION note_snapshot_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before integer := 0;
  bytes_before bigint := 0;
  after integer := 0;
  bytes_after bigint := 0;
BEGIN
  IF TG_OP <> 'INSERT' AND counts_snapshot(OLD.state, OLD.state_before_delete, OLD.for_copy) THEN
    before := 1;
    bytes_before := OLD.size_bytes;
  END IF;
  IF TG_OP <> 'DELETE' AND counts_snapshot(NEW.state, NEW.state_before_delete, NEW.for_copy) THEN
    after := 1;
    bytes_after := NEW.size_bytes;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.project_id = NEW.project_id THEN
    PERFORM add_snapshot_usage(NEW.project_id, NEW.id, after - before, bytes_after - bytes_before);
  ELSE
    IF TG_OP <> 'INSERT' THEN PERFORM add_snapshot_usage(OLD.project_id, OLD.id, -before, -bytes_before); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM add_snapshot_usage(NEW.project_id, NEW.id, after, bytes_after); END IF;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
-- Deferred, as those of volumes.
CREATE CONSTRAINT TRIGGER snapshots_usage AFTER INSERT OR DELETE ON snapshots DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_snapshot_usage();--> statement-breakpoint
CREATE CONSTRAINT TRIGGER snapshots_usage_change AFTER UPDATE OF state, state_before_delete, size_bytes, project_id, for_copy ON snapshots
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.project_id IS DISTINCT FROM NEW.project_id OR OLD.size_bytes <> NEW.size_bytes
    OR counts_snapshot(OLD.state, OLD.state_before_delete, OLD.for_copy) <> counts_snapshot(NEW.state, NEW.state_before_delete, NEW.for_copy))
  EXECUTE FUNCTION note_snapshot_usage();--> statement-breakpoint
-- What the quota of bytes counts.
CREATE FUNCTION quota_bytes_of(of_project text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT coalesce(sum(u.bytes + CASE WHEN coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) THEN u.snapshot_bytes ELSE 0 END), 0)
    FROM project_usage u WHERE u.project_id = of_project);
END $$;--> statement-breakpoint
-- As before, but that the bytes of snapshots count.
CREATE OR REPLACE FUNCTION quota_room(asks boolean, of_project text, ids uuid[], each_bytes bigint)
  RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  limits jsonb;
  most_volumes bigint;
  most_bytes bigint;
  most_volume_bytes bigint;
  wanted_volumes bigint;
  wanted_bytes bigint;
  used_volumes bigint;
  used_bytes bigint;
BEGIN
  IF asks IS NOT TRUE THEN RETURN null; END IF;
  SELECT coalesce((SELECT i.default_quotas FROM installation i), '{}') ||
    coalesce((SELECT jsonb_object_agg(q.quota, q.most) FROM project_quotas q WHERE q.project_id = of_project), '{}') INTO limits;
  most_volumes := (limits ->> 'volumes')::bigint;
  most_bytes := (limits ->> 'bytes')::bigint;
  most_volume_bytes := (limits ->> 'volumeBytes')::bigint;
  IF most_volumes IS NULL AND most_bytes IS NULL AND most_volume_bytes IS NULL THEN RETURN null; END IF;
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
  RETURN null;
END $$;--> statement-breakpoint
-- Which quota of a project does not allow this snapshot; null where all do. One that counts already is not asked for. It takes its turn with the project's
-- creates, as `quota_room` says.
CREATE FUNCTION snapshot_quota_room(asks boolean, of_project text, snapshot uuid, size_bytes bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  limits jsonb;
  most_snapshots bigint;
  most_bytes bigint;
  used_snapshots bigint;
  used_bytes bigint;
BEGIN
  IF asks IS NOT TRUE THEN RETURN null; END IF;
  SELECT coalesce((SELECT i.default_quotas FROM installation i), '{}') ||
    coalesce((SELECT jsonb_object_agg(q.quota, q.most) FROM project_quotas q WHERE q.project_id = of_project), '{}') INTO limits;
  most_snapshots := (limits ->> 'snapshots')::bigint;
  IF coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) THEN most_bytes := (limits ->> 'bytes')::bigint; END IF;
  IF most_snapshots IS NULL AND most_bytes IS NULL THEN RETURN null; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  IF EXISTS (SELECT FROM snapshots s WHERE s.id = snapshot AND counts_snapshot(s.state, s.state_before_delete, s.for_copy)) THEN RETURN null; END IF;
  SELECT coalesce(sum(u.snapshots), 0) INTO used_snapshots FROM project_usage u WHERE u.project_id = of_project;
  used_bytes := quota_bytes_of(of_project);
  IF used_snapshots + 1 > most_snapshots THEN
    RETURN jsonb_build_object('quota', 'snapshots', 'limit', most_snapshots, 'used', used_snapshots, 'asked', 1);
  ELSIF used_bytes + size_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', size_bytes);
  END IF;
  RETURN null;
END $$;--> statement-breakpoint
LOCK TABLE snapshots IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint
INSERT INTO project_usage AS u (project_id, shard, volumes, bytes, snapshots, snapshot_bytes)
  SELECT project_id, promise_shard(id), 0, 0, count(*), sum(size_bytes) FROM snapshots
  WHERE counts_snapshot(state, state_before_delete, for_copy) GROUP BY 1, 2
  ON CONFLICT (project_id, shard) DO UPDATE SET snapshots = excluded.snapshots, snapshot_bytes = excluded.snapshot_bytes;
