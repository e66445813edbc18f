ALTER TABLE "installation" ADD COLUMN "temporal_namespace" text;--> statement-breakpoint
ALTER TABLE "installation" ADD COLUMN "temporal_namespace_id" text;