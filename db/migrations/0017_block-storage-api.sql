CREATE TABLE "attachments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"volume_id" uuid NOT NULL,
	"project_id" text NOT NULL,
	"instance_id" text,
	"host_name" text,
	"mountpoint" text,
	"mode" text,
	"status" text NOT NULL,
	"connector" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"attached_at" timestamp with time zone,
	CONSTRAINT "attachments_status_known" CHECK ("attachments"."status" in ('reserved', 'attaching', 'attached', 'detaching', 'error_attaching', 'error_detaching')),
	CONSTRAINT "attachments_mode_known" CHECK ("attachments"."mode" is null or "attachments"."mode" in ('rw', 'ro'))
);
--> statement-breakpoint
CREATE TABLE "transfers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"volume_id" uuid NOT NULL,
	"project_id" text NOT NULL,
	"name" text,
	"key_hash" text NOT NULL,
	"no_snapshots" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "transfers_volume_id_unique" UNIQUE("volume_id")
);
--> statement-breakpoint
CREATE TABLE "volume_types" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"is_public" boolean NOT NULL,
	"extra_specs" jsonb NOT NULL,
	"projects" jsonb NOT NULL,
	"encryption" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone,
	CONSTRAINT "volume_types_name_unique" UNIQUE("name")
);
--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "description" text;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "status" text;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "read_only" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "multiattach" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "attachments_volume" ON "attachments" USING btree ("volume_id");--> statement-breakpoint
CREATE INDEX "attachments_project" ON "attachments" USING btree ("project_id","created_at","id");--> statement-breakpoint
CREATE INDEX "transfers_project" ON "transfers" USING btree ("project_id","created_at","id");--> statement-breakpoint
CREATE INDEX "volume_types_created" ON "volume_types" USING btree ("created_at","id");--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_status_known" CHECK ("volumes"."status" is null or "volumes"."status" in ('reserved', 'attaching', 'in-use', 'detaching', 'extending', 'uploading', 'maintenance', 'awaiting-transfer', 'error', 'error_attaching', 'error_detaching', 'error_deleting', 'error_extending'));