CREATE TABLE "backend_promises" (
	"backend" text NOT NULL,
	"shard" integer NOT NULL,
	"bytes" bigint NOT NULL,
	CONSTRAINT "backend_promises_backend_shard_pk" PRIMARY KEY("backend","shard")
);
--> statement-breakpoint
ALTER TABLE "backend_promises" ADD CONSTRAINT "backend_promises_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
-- The part of a volume's size that its backend has promised: nothing once its bytes are removed.
CREATE FUNCTION promised_bytes(state text, state_before_delete text, size_bytes bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN state IN ('creating', 'available') OR (state = 'deleting' AND state_before_delete IS DISTINCT FROM 'error')
    THEN coalesce(size_bytes, 0) ELSE 0 END
$$;--> statement-breakpoint
CREATE FUNCTION promise_shard(volume uuid) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT get_byte(uuid_send(volume), 15) % 16
$$;--> statement-breakpoint
CREATE FUNCTION add_promise(of_backend text, volume uuid, added bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO backend_promises AS p (backend, shard, bytes) SELECT of_backend, promise_shard(volume), added WHERE added <> 0
  ON CONFLICT (backend, shard) DO UPDATE SET bytes = p.bytes + excluded.bytes
$$;--> statement-breakpoint
CREATE FUNCTION note_promise() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before bigint := 0;
  after bigint := 0;
BEGIN
  IF TG_OP <> 'INSERT' THEN before := promised_bytes(OLD.state, OLD.state_before_delete, OLD.size_bytes); END IF;
  IF TG_OP <> 'DELETE' THEN after := promised_bytes(NEW.state, NEW.state_before_delete, NEW.size_bytes); END IF;
  IF TG_OP = 'UPDATE' AND OLD.backend = NEW.backend THEN
    PERFORM add_promise(NEW.backend, NEW.id, after - before);
  ELSE
    IF TG_OP <> 'INSERT' THEN PERFORM add_promise(OLD.backend, OLD.id, -before); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM add_promise(NEW.backend, NEW.id, after); END IF;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
-- Deferred: the sums are the last rows that a transaction locks, and only while it commits.
CREATE CONSTRAINT TRIGGER volumes_promise AFTER INSERT OR DELETE ON volumes DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_promise();--> statement-breakpoint
CREATE CONSTRAINT TRIGGER volumes_promise_change AFTER UPDATE OF state, state_before_delete, size_bytes, backend ON volumes
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.backend IS DISTINCT FROM NEW.backend OR promised_bytes(OLD.state, OLD.state_before_delete, OLD.size_bytes)
    <> promised_bytes(NEW.state, NEW.state_before_delete, NEW.size_bytes))
  EXECUTE FUNCTION note_promise();--> statement-breakpoint
-- Whether a volume may be promised `wanted` bytes. Each statement in here sees what was committed before it, which a statement that only looks does not.
-- Far below the limit creates go side by side: a small volume is at most one of all sessions' share of a quarter, and only the other three are given
-- away so. Everything else goes one after the other, after all that went side by side have ended.
CREATE FUNCTION promise_room(of_backend text, volume uuid, wanted bigint, most bigint) RETURNS TABLE (fits boolean, promised bigint) LANGUAGE plpgsql AS $$
DECLARE
  lock_key bigint := hashtextextended('promises of ' || of_backend, 0);
  is_small boolean := wanted <= most / 4 / current_setting('max_connections')::bigint;
  own bigint;
BEGIN
  IF most IS NULL OR coalesce(wanted, 0) <= 0 THEN RETURN QUERY SELECT true, 0::bigint; RETURN; END IF;
  SELECT coalesce(sum(promised_bytes(v.state, v.state_before_delete, v.size_bytes)), 0) INTO own FROM volumes v
    WHERE v.id = volume AND v.backend = of_backend;
  SELECT coalesce(sum(p.bytes), 0) - own INTO promised FROM backend_promises p WHERE p.backend = of_backend;
  IF is_small AND promised <= most / 4 * 3 AND pg_try_advisory_xact_lock_shared(lock_key) THEN
    SELECT coalesce(sum(p.bytes), 0) - own INTO promised FROM backend_promises p WHERE p.backend = of_backend;
    -- Null: it has become scarce meanwhile. The caller asks again, since two that hold the lock together cannot both have it alone.
    RETURN QUERY SELECT CASE WHEN promised <= most / 4 * 3 THEN true END, promised;
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(lock_key);
  SELECT coalesce(sum(p.bytes), 0) - own INTO promised FROM backend_promises p WHERE p.backend = of_backend;
  RETURN QUERY SELECT promised + wanted <= most, promised;
END $$;--> statement-breakpoint
LOCK TABLE volumes IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint
INSERT INTO backend_promises (backend, shard, bytes)
  SELECT backend, promise_shard(id), sum(promised_bytes(state, state_before_delete, size_bytes)) FROM volumes GROUP BY 1, 2;
