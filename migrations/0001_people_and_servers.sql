-- One schema for SQLite and PostgreSQL: text, whole numbers, nothing else. Times are Unix milliseconds.
CREATE TABLE revisions (part TEXT PRIMARY KEY, revision BIGINT NOT NULL);
INSERT INTO revisions (part, revision) VALUES ('people', 0), ('servers', 0), ('audit', 0);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    suspended BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    audience TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX credentials_of_user ON credentials (user_id, kind, created_at);

CREATE TABLE servers (
    vmid BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    container_type TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES users (id),
    address TEXT NOT NULL,
    agent_port BIGINT NOT NULL,
    ide_port BIGINT NOT NULL,
    agent_token TEXT,
    created_at BIGINT NOT NULL
);

-- Tokens that open something once.
CREATE TABLE used_tokens (jti TEXT PRIMARY KEY, expires_at BIGINT NOT NULL);
CREATE INDEX used_tokens_by_expiry ON used_tokens (expires_at);

-- Answers to requests that carried an Idempotency-Key; without a status the first one is still at work.
CREATE TABLE idempotency (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT,
    content_type TEXT,
    body TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Each entry's hash covers the one before it.
CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    peer TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    hash TEXT NOT NULL
);
