CREATE TABLE "project_quotas" (
	"project_id" text NOT NULL,
	"quota" text NOT NULL,
	"most" bigint,
	"set_by" text NOT NULL,
	"set_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "project_quotas_project_id_quota_pk" PRIMARY KEY("project_id","quota"),
	CONSTRAINT "project_quotas_quota" CHECK ("project_quotas"."quota" in ('volumes', 'bytes', 'volumeBytes')),
	CONSTRAINT "project_quotas_most" CHECK ("project_quotas"."most" is null or "project_quotas"."most" >= 0)
);
--> statement-breakpoint
CREATE TABLE "project_usage" (
	"project_id" text NOT NULL,
	"shard" integer NOT NULL,
	"volumes" bigint NOT NULL,
	"bytes" bigint NOT NULL,
	CONSTRAINT "project_usage_project_id_shard_pk" PRIMARY KEY("project_id","shard")
);
--> statement-breakpoint
ALTER TABLE "installation" ADD COLUMN "internal_project_id" text;--> statement-breakpoint
ALTER TABLE "installation" ADD COLUMN "internal_user_id" text;--> statement-breakpoint
ALTER TABLE "installation" ADD COLUMN "default_quotas" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
-- Whether a volume counts against its project's quotas: no longer once its bytes are removed, as for `promised_bytes`.
CREATE FUNCTION counts_for_project(state text, state_before_delete text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state IN ('creating', 'available') OR (state = 'deleting' AND state_before_delete IS DISTINCT FROM 'error')
$$;--> statement-breakpoint
CREATE FUNCTION add_usage(of_project text, volume uuid, added_volumes integer, added_bytes bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO project_usage AS u (project_id, shard, volumes, bytes) SELECT of_project, promise_shard(volume), added_volumes, added_bytes
  WHERE added_volumes <> 0 OR added_bytes <> 0
  ON CONFLICT (project_id, shard) DO UPDATE SET volumes = u.volumes + excluded.volumes, bytes = u.bytes + excluded.bytes
$$;--> statement-breakpoint
CREATE FUNCTION note_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  volumes_before integer := 0;
  bytes_before bigint := 0;
  volumes_after integer := 0;
  bytes_after bigint := 0;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    volumes_before := counts_for_project(OLD.state, OLD.state_before_delete)::integer;
    bytes_before := promised_bytes(OLD.state, OLD.state_before_delete, OLD.size_bytes);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    volumes_after := counts_for_project(NEW.state, NEW.state_before_delete)::integer;
    bytes_after := promised_bytes(NEW.state, NEW.state_before_delete, NEW.size_bytes);
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.project_id = NEW.project_id THEN
    PERFORM add_usage(NEW.project_id, NEW.id, volumes_after - volumes_before, bytes_after - bytes_before);
  ELSE
    IF TG_OP <> 'INSERT' THEN PERFORM add_usage(OLD.project_id, OLD.id, -volumes_before, -bytes_before); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM add_usage(NEW.project_id, NEW.id, volumes_after, bytes_after); END IF;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
-- Deferred, as those of the promises: the sums are the last rows that a transaction locks, and only while it commits.
CREATE CONSTRAINT TRIGGER volumes_usage AFTER INSERT OR DELETE ON volumes DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_usage();--> statement-breakpoint
CREATE CONSTRAINT TRIGGER volumes_usage_change AFTER UPDATE OF state, state_before_delete, size_bytes, project_id ON volumes
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.project_id IS DISTINCT FROM NEW.project_id
    OR counts_for_project(OLD.state, OLD.state_before_delete) <> counts_for_project(NEW.state, NEW.state_before_delete)
    OR promised_bytes(OLD.state, OLD.state_before_delete, OLD.size_bytes)
      <> promised_bytes(NEW.state, NEW.state_before_delete, NEW.size_bytes))
  EXECUTE FUNCTION note_usage();--> statement-breakpoint
-- Which quota of a project does not allow volumes of `each_bytes` with these ids; null where all do. Those that count already are not asked for.
-- Where the project has a limit its creates are admitted one after the other: each sum is read under the lock, and sees what was committed before.
CREATE FUNCTION quota_room(asks boolean, of_project text, ids uuid[], each_bytes bigint)
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
  SELECT coalesce(sum(u.volumes), 0), coalesce(sum(u.bytes), 0) INTO used_volumes, used_bytes FROM project_usage u WHERE u.project_id = of_project;
  IF wanted_volumes > 0 AND each_bytes > most_volume_bytes THEN
    RETURN jsonb_build_object('quota', 'volumeBytes', 'limit', most_volume_bytes, 'used', 0, 'asked', each_bytes);
  ELSIF wanted_volumes > 0 AND used_volumes + wanted_volumes > most_volumes THEN
    RETURN jsonb_build_object('quota', 'volumes', 'limit', most_volumes, 'used', used_volumes, 'asked', wanted_volumes);
  ELSIF wanted_bytes > 0 AND used_bytes + wanted_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', wanted_bytes);
  END IF;
  RETURN null;
END $$;--> statement-breakpoint
LOCK TABLE volumes IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint
INSERT INTO project_usage (project_id, shard, volumes, bytes)
  SELECT project_id, promise_shard(id), count(*), sum(promised_bytes(state, state_before_delete, size_bytes)) FROM volumes
  WHERE counts_for_project(state, state_before_delete) GROUP BY 1, 2;
