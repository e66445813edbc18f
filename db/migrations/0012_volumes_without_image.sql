ALTER TABLE "decisions" DROP CONSTRAINT "decisions_outcome";--> statement-breakpoint
ALTER TABLE "volumes" ALTER COLUMN "image_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "volumes" ALTER COLUMN "short_key" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "decisions" ADD CONSTRAINT "decisions_outcome" CHECK ("decisions"."outcome" in ('hit', 'miss', 'joined', 'bypassed', 'blank', 'copied', 'refused', 'failed'));