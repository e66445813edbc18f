CREATE TABLE "image_pointers" (
	"image_id" text PRIMARY KEY NOT NULL,
	"backend" text NOT NULL,
	"project_id" text NOT NULL,
	"volume_id" uuid NOT NULL,
	"snapshot_id" uuid NOT NULL,
	"size_bytes" bigint NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "image_pointers_state_known" CHECK ("image_pointers"."state" in ('making', 'ready'))
);
--> statement-breakpoint
ALTER TABLE "image_pointers" ADD CONSTRAINT "image_pointers_backend_backends_name_fk" FOREIGN KEY ("backend") REFERENCES "public"."backends"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "image_pointers_backend" ON "image_pointers" USING btree ("backend","image_id");