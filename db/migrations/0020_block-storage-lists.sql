CREATE TABLE "default_volume_types" (
	"project_id" text PRIMARY KEY NOT NULL,
	"volume_type_id" uuid NOT NULL,
	"set_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "deleted_messages" (
	"id" uuid PRIMARY KEY NOT NULL,
	"deleted_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "project_quotas" DROP CONSTRAINT "project_quotas_quota";--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "volume_type_id" uuid;--> statement-breakpoint
CREATE INDEX "deleted_messages_at" ON "deleted_messages" USING btree ("deleted_at");--> statement-breakpoint
CREATE INDEX "volumes_named" ON "volumes" USING btree ("project_id","name");--> statement-breakpoint
CREATE INDEX "volumes_metadata" ON "volumes" USING gin ("metadata" jsonb_path_ops);--> statement-breakpoint
CREATE INDEX "volumes_type" ON "volumes" USING btree ("volume_type_id") WHERE "volumes"."volume_type_id" is not null and "volumes"."state" <> 'deleted';--> statement-breakpoint
ALTER TABLE "project_quotas" ADD CONSTRAINT "project_quotas_quota" CHECK ("project_quotas"."quota" in ('volumes', 'snapshots', 'bytes', 'volumeBytes', 'backups', 'backupBytes', 'groups'));