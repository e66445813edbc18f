ALTER TABLE "volumes" ADD COLUMN "volume_type" text;--> statement-breakpoint
ALTER TABLE "volumes" ADD COLUMN "placement" text;