-- The end of the audit log, sealed with a key that is not in the database: entries that were cut off show.
CREATE TABLE audit_end (
    id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    seal TEXT NOT NULL
);

-- All headers of a kept answer, as JSON, in place of its type alone.
DELETE FROM idempotency;
ALTER TABLE idempotency DROP COLUMN content_type;
ALTER TABLE idempotency ADD COLUMN headers TEXT;
