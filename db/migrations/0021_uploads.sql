CREATE TABLE "uploads" (
	"volume_id" uuid PRIMARY KEY NOT NULL,
	"backend" text NOT NULL,
	"image_id" text NOT NULL,
	"is_recorded" boolean DEFAULT false NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"requested_by" text,
	"request_id" text,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "uploads" ADD CONSTRAINT "uploads_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "uploads_image" ON "uploads" USING btree ("image_id");--> statement-breakpoint
CREATE INDEX "uploads_backend" ON "uploads" USING btree ("backend","volume_id");