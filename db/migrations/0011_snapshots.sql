CREATE TABLE "snapshots" (
	"id" uuid PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"volume_id" uuid NOT NULL,
	"backend" text NOT NULL,
	"name" text,
	"description" text,
	"metadata" jsonb NOT NULL,
	"size_bytes" bigint NOT NULL,
	"state" text NOT NULL,
	"entry_id" uuid,
	"holds_entry" boolean DEFAULT false NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"requested_by" text,
	"request_id" text,
	"given_up" boolean DEFAULT false NOT NULL,
	"error_type" text,
	"error_message" text,
	"state_before_delete" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	"available_at" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "snapshots_state_known" CHECK ("snapshots"."state" in ('creating', 'available', 'error', 'deleting', 'deleted')),
	CONSTRAINT "snapshots_holds_an_entry" CHECK (not "snapshots"."holds_entry" or "snapshots"."entry_id" is not null)
);
--> statement-breakpoint
ALTER TABLE "snapshots" ADD CONSTRAINT "snapshots_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "snapshots" ADD CONSTRAINT "snapshots_entry_id_cache_entries_id_fk" FOREIGN KEY ("entry_id") REFERENCES "public"."cache_entries"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "snapshots_volume" ON "snapshots" USING btree ("volume_id") WHERE "snapshots"."state" <> 'deleted';--> statement-breakpoint
CREATE INDEX "snapshots_entry" ON "snapshots" USING btree ("entry_id");--> statement-breakpoint
CREATE INDEX "snapshots_project" ON "snapshots" USING btree ("project_id","created_at","id");--> statement-breakpoint
CREATE INDEX "snapshots_backend" ON "snapshots" USING btree ("backend","created_at","id");--> statement-breakpoint
CREATE INDEX "snapshots_deleted" ON "snapshots" USING btree ("deleted_at") WHERE "snapshots"."state" = 'deleted';