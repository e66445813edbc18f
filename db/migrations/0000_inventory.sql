CREATE TABLE "backends" (
	"name" text PRIMARY KEY NOT NULL,
	"driver" text NOT NULL,
	"capabilities" jsonb NOT NULL,
	"cache_enabled" boolean NOT NULL,
	"max_bytes" bigint NOT NULL,
	"max_count" integer NOT NULL,
	"free_low_water" double precision NOT NULL,
	"free_high_water" double precision NOT NULL,
	"idle_age_ms" bigint,
	"keep_superseded" integer NOT NULL,
	"policy" text NOT NULL,
	"clone_limit" integer,
	"operator_limits" text[] DEFAULT '{}' NOT NULL,
	"limits_set_by" text,
	"limits_set_at" timestamp with time zone,
	"total_bytes" bigint,
	"free_bytes" bigint,
	"space_seen_at" timestamp with time zone,
	"registered_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "backends_policy" CHECK ("backends"."policy" in ('gdsf', 'lru'))
);
--> statement-breakpoint
CREATE TABLE "cache_entries" (
	"id" uuid PRIMARY KEY NOT NULL,
	"backend" text NOT NULL,
	"short_key" text NOT NULL,
	"container_format" text NOT NULL,
	"disk_format" text NOT NULL,
	"hash_algorithm" text NOT NULL,
	"hash_value" text NOT NULL,
	"key_image_id" text,
	"generation" integer NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"reason_detail" text,
	"image_volume" text NOT NULL,
	"flight" integer,
	"reserved_for" text,
	"virtual_bytes" bigint,
	"real_bytes" bigint NOT NULL,
	"counted" boolean DEFAULT true NOT NULL,
	"cost_seconds" double precision,
	"uses" bigint DEFAULT 0 NOT NULL,
	"use_score" double precision DEFAULT 0 NOT NULL,
	"last_used_at" timestamp with time zone,
	"priority" double precision DEFAULT 0 NOT NULL,
	"pinned" boolean DEFAULT false NOT NULL,
	"pinned_by" text,
	"policy_version" text,
	"verdict" jsonb,
	"digest_algorithm" text,
	"digest" text,
	"clones" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ready_at" timestamp with time zone,
	"retired_at" timestamp with time zone,
	"gone_at" timestamp with time zone,
	CONSTRAINT "cache_entries_generation" UNIQUE("backend","short_key","generation"),
	CONSTRAINT "cache_entries_state" CHECK ("cache_entries"."state" in ('populating', 'ready', 'retired', 'deleting', 'gone')),
	CONSTRAINT "cache_entries_clones" CHECK ("cache_entries"."clones" >= 0),
	CONSTRAINT "cache_entries_ready_is_measured" CHECK ("cache_entries"."state" <> 'ready' or "cache_entries"."virtual_bytes" is not null)
);
--> statement-breakpoint
CREATE TABLE "decisions" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"volume_id" uuid,
	"project_id" text,
	"backend" text,
	"image_id" text,
	"short_key" text,
	"entry_id" uuid,
	"outcome" text NOT NULL,
	"reason" text NOT NULL,
	"error_type" text,
	"bytes_downloaded" bigint DEFAULT 0 NOT NULL,
	"timings_ms" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	CONSTRAINT "decisions_one_a_run" UNIQUE("workflow_id","run_id"),
	CONSTRAINT "decisions_outcome" CHECK ("decisions"."outcome" in ('hit', 'miss', 'joined', 'bypassed', 'refused', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "entry_images" (
	"entry_id" uuid NOT NULL,
	"image_id" text NOT NULL,
	"project_id" text NOT NULL,
	"last_seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	"state" text DEFAULT 'usable' NOT NULL,
	CONSTRAINT "entry_images_entry_id_image_id_pk" PRIMARY KEY("entry_id","image_id"),
	CONSTRAINT "entry_images_state" CHECK ("entry_images"."state" in ('usable', 'deactivated', 'gone'))
);
--> statement-breakpoint
CREATE TABLE "installation" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"id" uuid NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "installation_is_one_row" CHECK ("installation"."singleton")
);
--> statement-breakpoint
CREATE TABLE "populations" (
	"backend" text NOT NULL,
	"short_key" text NOT NULL,
	"container_format" text NOT NULL,
	"disk_format" text NOT NULL,
	"hash_algorithm" text NOT NULL,
	"hash_value" text NOT NULL,
	"key_image_id" text,
	"flight" integer NOT NULL,
	"run_id" text,
	"answered_run_id" text,
	"image_id" text NOT NULL,
	"leader_volume_id" uuid NOT NULL,
	"verdict" jsonb,
	"answered_at" timestamp with time zone,
	"policy_version" text NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "populations_backend_short_key_pk" PRIMARY KEY("backend","short_key"),
	CONSTRAINT "populations_verdict_is_answer" CHECK (("populations"."verdict" is null) = ("populations"."answered_at" is null))
);
--> statement-breakpoint
CREATE TABLE "scratch_files" (
	"host_id" text NOT NULL,
	"content_hash" text NOT NULL,
	"bytes_reserved" bigint NOT NULL,
	"bytes_real" bigint,
	"users" text[] DEFAULT '{}' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_used_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "scratch_files_host_id_content_hash_pk" PRIMARY KEY("host_id","content_hash")
);
--> statement-breakpoint
CREATE TABLE "volumes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"name" text,
	"backend" text NOT NULL,
	"image_id" text NOT NULL,
	"short_key" text NOT NULL,
	"request" jsonb NOT NULL,
	"size_bytes" bigint,
	"state" text NOT NULL,
	"entry_id" uuid,
	"holds_entry" boolean DEFAULT false NOT NULL,
	"waits_for_flight" integer,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"activity_id" text,
	"outcome" text,
	"attached_to" text,
	"connection" jsonb,
	"bootable" boolean DEFAULT false NOT NULL,
	"image_metadata" jsonb NOT NULL,
	"metadata" jsonb NOT NULL,
	"error_type" text,
	"error_message" text,
	"state_before_delete" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	"available_at" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "volumes_state_known" CHECK ("volumes"."state" in ('creating', 'available', 'error', 'deleting', 'deleted')),
	CONSTRAINT "volumes_size" CHECK ("volumes"."size_bytes" is null or ("volumes"."size_bytes" > 0 and "volumes"."size_bytes" % 512 = 0)),
	CONSTRAINT "volumes_available_is_complete" CHECK ("volumes"."state" <> 'available' or ("volumes"."connection" is not null and "volumes"."size_bytes" is not null)),
	CONSTRAINT "volumes_holds_an_entry" CHECK (not "volumes"."holds_entry" or "volumes"."entry_id" is not null)
);
--> statement-breakpoint
ALTER TABLE "cache_entries" ADD CONSTRAINT "cache_entries_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "entry_images" ADD CONSTRAINT "entry_images_entry_id_cache_entries_id_fk" FOREIGN KEY ("entry_id") REFERENCES "public"."cache_entries"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "populations" ADD CONSTRAINT "populations_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_entry_id_cache_entries_id_fk" FOREIGN KEY ("entry_id") REFERENCES "public"."cache_entries"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "cache_entries_one_populating" ON "cache_entries" USING btree ("backend","short_key") WHERE "cache_entries"."state" = 'populating';--> statement-breakpoint
CREATE INDEX "cache_entries_priority" ON "cache_entries" USING btree ("backend","state","priority");--> statement-breakpoint
CREATE INDEX "cache_entries_reserved_for" ON "cache_entries" USING btree ("reserved_for") WHERE "cache_entries"."state" in ('populating', 'deleting');--> statement-breakpoint
CREATE INDEX "decisions_at" ON "decisions" USING btree ("at");--> statement-breakpoint
CREATE INDEX "decisions_volume" ON "decisions" USING btree ("volume_id");--> statement-breakpoint
CREATE INDEX "decisions_entry" ON "decisions" USING btree ("entry_id");--> statement-breakpoint
CREATE INDEX "entry_images_image" ON "entry_images" USING btree ("image_id");--> statement-breakpoint
CREATE INDEX "volumes_entry" ON "volumes" USING btree ("entry_id");--> statement-breakpoint
CREATE INDEX "volumes_waiting" ON "volumes" USING btree ("backend","short_key","waits_for_flight","id") WHERE "volumes"."waits_for_flight" is not null;--> statement-breakpoint
CREATE INDEX "volumes_project" ON "volumes" USING btree ("project_id","created_at");--> statement-breakpoint
CREATE INDEX "volumes_state" ON "volumes" USING btree ("state");