-- As before, but that a volume which grows is held to the largest size of one volume too.
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
  SELECT coalesce(sum(u.volumes), 0), coalesce(sum(u.bytes), 0) INTO used_volumes, used_bytes FROM project_usage u WHERE u.project_id = of_project;
  IF (wanted_volumes > 0 OR wanted_bytes > 0) AND each_bytes > most_volume_bytes THEN
    RETURN jsonb_build_object('quota', 'volumeBytes', 'limit', most_volume_bytes, 'used', 0, 'asked', each_bytes);
  ELSIF wanted_volumes > 0 AND used_volumes + wanted_volumes > most_volumes THEN
    RETURN jsonb_build_object('quota', 'volumes', 'limit', most_volumes, 'used', used_volumes, 'asked', wanted_volumes);
  ELSIF wanted_bytes > 0 AND used_bytes + wanted_bytes > most_bytes THEN
    RETURN jsonb_build_object('quota', 'bytes', 'limit', most_bytes, 'used', used_bytes, 'asked', wanted_bytes);
  END IF;
  RETURN null;
END $$;
