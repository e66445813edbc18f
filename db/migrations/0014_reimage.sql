CREATE TABLE "reimages" (
	"volume_id" uuid PRIMARY KEY NOT NULL,
	"backend" text NOT NULL,
	"content_id" uuid NOT NULL,
	"image_id" text NOT NULL,
	"short_key" text NOT NULL,
	"image_metadata" jsonb NOT NULL,
	"entry_id" uuid,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"requested_by" text,
	"request_id" text,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "content_id" uuid;--> statement-breakpoint
ALTER TABLE "reimages" ADD CONSTRAINT "reimages_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "reimages" ADD CONSTRAINT "reimages_entry_id_cache_entries_id_fk" FOREIGN KEY ("entry_id") REFERENCES "public"."cache_entries"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "reimages_entry" ON "reimages" USING btree ("entry_id");--> statement-breakpoint
CREATE INDEX "reimages_backend" ON "reimages" USING btree ("backend");