CREATE TABLE "flight_waiters" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"backend" text NOT NULL,
	"short_key" text NOT NULL,
	"flight" integer NOT NULL,
	"workflow_id" text NOT NULL,
	"run_id" text NOT NULL,
	"activity_id" text NOT NULL,
	CONSTRAINT "flight_waiters_activity" UNIQUE("run_id","activity_id")
);
--> statement-breakpoint
CREATE INDEX "flight_waiters_flight" ON "flight_waiters" USING btree ("backend","short_key","flight");