CREATE TABLE "imports" (
	"kind" text NOT NULL,
	"object" text NOT NULL,
	"backend" text,
	"source" text NOT NULL,
	"state" text DEFAULT 'taking' NOT NULL,
	"run_id" text NOT NULL,
	"detail" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"imported_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "imports_kind_object_pk" PRIMARY KEY("kind","object"),
	CONSTRAINT "imports_kind" CHECK ("imports"."kind" in ('volume', 'snapshot', 'type', 'quota', 'cached-image')),
	CONSTRAINT "imports_state" CHECK ("imports"."state" in ('taking', 'taken', 'giving-back', 'given-back'))
);
--> statement-breakpoint
CREATE INDEX "imports_backend" ON "imports" USING btree ("backend","kind","object");