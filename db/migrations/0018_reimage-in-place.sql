ALTER TABLE "volumes" DROP CONSTRAINT "volumes_state_known";--> statement-breakpoint
ALTER TABLE "image_pointers" ADD COLUMN "workflow_id" text;--> statement-breakpoint
ALTER TABLE "image_pointers" ADD COLUMN "run_id" text;--> statement-breakpoint
ALTER TABLE "reimages" ADD COLUMN "stage" text DEFAULT 'begun' NOT NULL;--> statement-breakpoint
ALTER TABLE "reimages" ADD CONSTRAINT "reimages_stage_known" CHECK ("reimages"."stage" in ('begun', 'replacing', 'in-place'));--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_state_known" CHECK ("volumes"."state" in ('creating', 'available', 'reimaging', 'error', 'deleting', 'deleted'));--> statement-breakpoint
-- A volume that gets other bytes is promised them, and counts, as one that is available.
CREATE OR REPLACE FUNCTION promised_bytes(state text, state_before_delete text, size_bytes bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN state IN ('creating', 'available', 'reimaging') OR (state = 'deleting' AND state_before_delete IS DISTINCT FROM 'error')
    THEN coalesce(size_bytes, 0) ELSE 0 END
$$;--> statement-breakpoint
CREATE OR REPLACE FUNCTION counts_for_project(state text, state_before_delete text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state IN ('creating', 'available', 'reimaging') OR (state = 'deleting' AND state_before_delete IS DISTINCT FROM 'error')
$$;
