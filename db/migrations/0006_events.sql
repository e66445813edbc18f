CREATE TABLE "events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"kind" text NOT NULL,
	"object" text NOT NULL,
	"requested_by" text,
	"request_id" text,
	"project_id" text,
	"volume_id" uuid,
	"image_id" text,
	"entry_id" uuid,
	"backend" text,
	"detail" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	CONSTRAINT "events_once" UNIQUE("workflow_id","run_id","kind","object")
);
--> statement-breakpoint
ALTER TABLE "decisions" ADD COLUMN "requested_by" text;--> statement-breakpoint
ALTER TABLE "decisions" ADD COLUMN "request_id" text;--> statement-breakpoint
ALTER TABLE "entry_events" ADD COLUMN "requested_by" text;--> statement-breakpoint
ALTER TABLE "entry_events" ADD COLUMN "request_id" text;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "requested_by" text;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "request_id" text;--> statement-breakpoint
CREATE INDEX "events_at" ON "events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "events_volume" ON "events" USING btree ("volume_id");--> statement-breakpoint
CREATE INDEX "events_image" ON "events" USING btree ("image_id","at");--> statement-breakpoint
CREATE INDEX "events_project" ON "events" USING btree ("project_id","at");--> statement-breakpoint
CREATE INDEX "decisions_image" ON "decisions" USING btree ("image_id","at");--> statement-breakpoint
CREATE INDEX "decisions_project" ON "decisions" USING btree ("project_id","at");--> statement-breakpoint
CREATE INDEX "volumes_deleted" ON "volumes" USING btree ("deleted_at") WHERE "volumes"."state" = 'deleted';