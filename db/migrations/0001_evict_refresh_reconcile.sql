CREATE TABLE "entry_events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"entry_id" uuid NOT NULL,
	"backend" text NOT NULL,
	"short_key" text NOT NULL,
	"kind" text NOT NULL,
	"reason" text,
	"detail" text,
	"bytes" bigint,
	"workflow_id" text,
	CONSTRAINT "entry_events_kind" CHECK ("entry_events"."kind" in ('registered', 'superseded', 'retired', 'quarantined', 'deleted', 'flattened', 'pinned', 'unpinned', 'digested', 'scrubbed', 'repaired'))
);
--> statement-breakpoint
CREATE TABLE "follows" (
	"id" uuid PRIMARY KEY NOT NULL,
	"backend" text NOT NULL,
	"name" text NOT NULL,
	"image_name" text NOT NULL,
	"owner" text,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"properties" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"keep" integer DEFAULT 0 NOT NULL,
	"pin" boolean DEFAULT false NOT NULL,
	"current_image_id" text,
	"current_entry_id" uuid,
	"current_since" timestamp with time zone,
	"newest_image_id" text,
	"checked_at" timestamp with time zone,
	"problem" text,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "follows_name" UNIQUE("backend","name"),
	CONSTRAINT "follows_keep" CHECK ("follows"."keep" >= 0)
);
--> statement-breakpoint
DROP INDEX "volumes_project";--> statement-breakpoint
DROP INDEX "volumes_state";--> statement-breakpoint
ALTER TABLE "populations" ALTER COLUMN "leader_volume_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "backends" ADD COLUMN "eviction_clock" double precision DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "image_bytes" bigint;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "reclaimable_bytes" bigint;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "uses_scored" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "scored_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "priority_base" double precision DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "digest_seen_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "superseded_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "cache_entries" ADD COLUMN "superseded_by" uuid;--> statement-breakpoint
ALTER TABLE "decisions" ADD COLUMN "saved_bytes" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "decisions" ADD COLUMN "saved_seconds" double precision DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "given_up" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "follows" ADD CONSTRAINT "follows_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "follows" ADD CONSTRAINT "follows_current_entry_id_cache_entries_id_fk" FOREIGN KEY ("current_entry_id") REFERENCES "public"."cache_entries"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "entry_events_entry" ON "entry_events" USING btree ("entry_id","id");--> statement-breakpoint
CREATE INDEX "entry_events_at" ON "entry_events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "cache_entries_created" ON "cache_entries" USING btree ("created_at","id") WHERE "cache_entries"."state" <> 'gone';--> statement-breakpoint
CREATE INDEX "cache_entries_sums" ON "cache_entries" USING btree ("backend","counted","state","real_bytes") WHERE "cache_entries"."state" <> 'gone';--> statement-breakpoint
CREATE INDEX "cache_entries_superseded" ON "cache_entries" USING btree ("backend","superseded_at") WHERE "cache_entries"."superseded_at" is not null;--> statement-breakpoint
CREATE INDEX "entry_images_unusable" ON "entry_images" USING btree ("entry_id") WHERE "entry_images"."state" <> 'usable';--> statement-breakpoint
CREATE INDEX "populations_running" ON "populations" USING btree ("backend") WHERE "populations"."answered_at" is null;--> statement-breakpoint
CREATE INDEX "volumes_lease" ON "volumes" USING btree ("entry_id") WHERE "volumes"."holds_entry" and "volumes"."state" in ('creating', 'deleting');--> statement-breakpoint
CREATE INDEX "volumes_created" ON "volumes" USING btree ("created_at","id") WHERE "volumes"."state" <> 'deleted';--> statement-breakpoint
CREATE INDEX "volumes_backend" ON "volumes" USING btree ("backend","created_at","id");--> statement-breakpoint
CREATE INDEX "volumes_project" ON "volumes" USING btree ("project_id","created_at","id");--> statement-breakpoint
CREATE INDEX "volumes_state" ON "volumes" USING btree ("state","created_at","id");