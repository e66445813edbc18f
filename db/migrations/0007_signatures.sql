ALTER TABLE "cache_entries" ADD COLUMN "key_signature" text;--> statement-breakpoint
ALTER TABLE "populations" ADD COLUMN "key_signature" text;