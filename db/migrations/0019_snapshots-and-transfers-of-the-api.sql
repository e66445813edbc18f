ALTER TABLE "volumes" DROP CONSTRAINT "volumes_status_known";--> statement-breakpoint
ALTER TABLE "snapshots" ADD COLUMN "status" text;--> statement-breakpoint
ALTER TABLE "snapshots" ADD COLUMN "progress" text;--> statement-breakpoint
ALTER TABLE "snapshots" ADD CONSTRAINT "snapshots_status_known" CHECK ("snapshots"."status" is null or "snapshots"."status" in ('creating', 'error', 'deleting', 'error_deleting'));--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_status_known" CHECK ("volumes"."status" is null or "volumes"."status" in ('reserved', 'attaching', 'in-use', 'detaching', 'extending', 'uploading', 'creating', 'maintenance', 'awaiting-transfer', 'error', 'error_attaching', 'error_detaching', 'error_deleting', 'error_extending'));--> statement-breakpoint
-- Which quota of a project does not allow a volume of another one with its snapshots; null where all do. It takes its turn with the project's creates, as
-- `quota_room` says.
CREATE FUNCTION transfer_quota_room(of_project text, of_volume uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  room jsonb;
  limits jsonb;
  most_snapshots bigint;
  most_bytes bigint;
  volume_bytes bigint;
  wanted_snapshots bigint;
  wanted_bytes bigint;
  used_snapshots bigint;
  used_bytes bigint;
BEGIN
  SELECT size_bytes INTO volume_bytes FROM volumes WHERE id = of_volume;
  room := quota_room(true, of_project, ARRAY[of_volume], volume_bytes);
  IF room IS NOT NULL THEN RETURN room; END IF;
  SELECT count(*), coalesce(sum(s.size_bytes), 0) INTO wanted_snapshots, wanted_bytes FROM snapshots s
    WHERE s.volume_id = of_volume AND counts_snapshot(s.state, s.state_before_delete, s.for_copy);
  IF wanted_snapshots = 0 THEN RETURN null; END IF;
  SELECT coalesce((SELECT i.default_quotas FROM installation i), '{}') ||
    coalesce((SELECT jsonb_object_agg(q.quota, q.most) FROM project_quotas q WHERE q.project_id = of_project), '{}') INTO limits;
  most_snapshots := (limits ->> 'snapshots')::bigint;
  IF coalesce((SELECT i.snapshot_bytes_count FROM installation i), true) THEN most_bytes := (limits ->> 'bytes')::bigint; END IF;
  IF most_snapshots IS NULL AND most_bytes IS NULL THEN RETURN null; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('quotas of ' || of_project, 0));
  SELECT coalesce(sum(u.snapshots), 0) INTO used_snapshots FROM project_usage u WHERE u.project_id = of_project;
  used_bytes := quota_bytes_of(of_project);
  IF used_snapshots + wanted_snapshots > most_snapshots THEN
    RETURN jsonb_build_object('quota', 'snapshots', 'limit', most_snapshots, 'used', used_snapshots, 'asked', wanted_snapshots);
  ELSIF used_bytes + volume_bytes + wanted_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', volume_bytes + wanted_bytes);
  END IF;
  RETURN null;
END $$;
