-- The first schema, for PostgreSQL and SQLite alike. Times are microseconds since the Unix epoch; JSON is text.
-- Statements are separated by a semicolon at the end of a line.

CREATE TABLE account (
  login TEXT NOT NULL,
  display_name TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (login)
);

CREATE TABLE user_group (
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE membership (
  login TEXT NOT NULL,
  group_name TEXT NOT NULL,
  PRIMARY KEY (login, group_name)
);

CREATE TABLE api_key (
  id TEXT NOT NULL,
  login TEXT NOT NULL,
  label TEXT NOT NULL,
  hash TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  revoked_at BIGINT,
  hooks_run_id BIGINT,
  PRIMARY KEY (id)
);

CREATE TABLE stage (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  position INTEGER NOT NULL,
  description TEXT NOT NULL,
  PRIMARY KEY (kind, id)
);

CREATE TABLE infrastructure (
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  stage TEXT NOT NULL,
  settings TEXT NOT NULL,
  key_ref TEXT,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE infrastructure_permission (
  infrastructure_id TEXT NOT NULL,
  group_name TEXT NOT NULL,
  level INTEGER NOT NULL,
  PRIMARY KEY (infrastructure_id, group_name)
);

CREATE TABLE hook (
  id TEXT NOT NULL,
  infrastructure_id TEXT NOT NULL,
  phase TEXT NOT NULL,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  code_ref TEXT NOT NULL,
  code_env TEXT,
  os_user TEXT,
  deadline_ms BIGINT NOT NULL,
  on_interrupt TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE hook_code (
  id TEXT NOT NULL,
  infrastructure_id TEXT NOT NULL,
  code TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE secret (
  id TEXT NOT NULL,
  sealed TEXT NOT NULL,
  owner TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE published_project (
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (key)
);

CREATE TABLE published_project_permission (
  project_key TEXT NOT NULL,
  group_name TEXT NOT NULL,
  can_read BOOLEAN NOT NULL,
  can_write BOOLEAN NOT NULL,
  can_deploy BOOLEAN NOT NULL,
  can_admin BOOLEAN NOT NULL,
  PRIMARY KEY (project_key, group_name)
);

CREATE TABLE bundle (
  project_key TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size BIGINT NOT NULL,
  store_key TEXT NOT NULL,
  file_name TEXT NOT NULL,
  contents TEXT NOT NULL,
  manifest TEXT NOT NULL,
  inferred BOOLEAN NOT NULL,
  release_notes TEXT NOT NULL,
  uploaded_at BIGINT NOT NULL,
  uploaded_by TEXT NOT NULL,
  PRIMARY KEY (project_key, bundle_id)
);

CREATE TABLE package_binding (
  project_key TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  bound_at BIGINT NOT NULL,
  PRIMARY KEY (project_key, bundle_id)
);

CREATE TABLE node_import (
  node_url TEXT NOT NULL,
  project_key TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  confirmed BOOLEAN NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (node_url, project_key, bundle_id)
);

CREATE TABLE deployment (
  id TEXT NOT NULL,
  project_key TEXT NOT NULL,
  infrastructure_id TEXT NOT NULL,
  bundle_id TEXT NOT NULL,
  deployed_project_key TEXT NOT NULL,
  settings TEXT NOT NULL,
  version BIGINT NOT NULL,
  last_run_no BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE run (
  id BIGINT NOT NULL,
  deployment_id TEXT NOT NULL,
  run_no BIGINT NOT NULL,
  status TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  worker_id BIGINT,
  step BIGINT,
  attempt BIGINT NOT NULL,
  wake_at BIGINT,
  requester TEXT NOT NULL,
  requested_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  cancel_requested_at BIGINT,
  cancel_requested_by TEXT,
  PRIMARY KEY (id)
) /*fillfactor 60*/;

CREATE TABLE run_event (
  run_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  kind TEXT NOT NULL,
  step BIGINT,
  attempt BIGINT,
  data TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE run_log (
  run_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  step BIGINT,
  attempt BIGINT,
  stream TEXT NOT NULL,
  admins_only BOOLEAN NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE idempotency_key (
  login TEXT NOT NULL,
  deployment_id TEXT NOT NULL,
  key TEXT NOT NULL,
  arguments TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (login, deployment_id, key)
);

CREATE TABLE worker (
  id BIGINT NOT NULL,
  name TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  ended_at BIGINT,
  draining_since BIGINT,
  facts TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE pool (
  name TEXT NOT NULL,
  slot_limit INTEGER NOT NULL,
  next_ticket BIGINT NOT NULL,
  grants BIGINT NOT NULL,
  timeouts BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE pool_waiter (
  run_id BIGINT NOT NULL,
  step BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  pool TEXT NOT NULL,
  ticket BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  worker_id BIGINT NOT NULL,
  since BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  PRIMARY KEY (run_id, step, attempt)
);

CREATE TABLE pool_holder (
  run_id BIGINT NOT NULL,
  step BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  pool TEXT NOT NULL,
  ticket BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  worker_id BIGINT NOT NULL,
  granted_at BIGINT NOT NULL,
  PRIMARY KEY (run_id, step, attempt)
);

-- What one process of the fleet does once a period.
CREATE TABLE chore (
  name TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (name)
);

INSERT INTO chore (name, at) VALUES ('sweep', 0), ('forget', 0);
-- One run at a time per deployment: an order by ids alone is broken, since ids are given before the commit.
CREATE UNIQUE INDEX run_one_at_a_time ON run (deployment_id) WHERE status IN ('RUNNING', 'WAITING', 'STUCK');
CREATE UNIQUE INDEX run_number ON run (deployment_id, run_no);
CREATE UNIQUE INDEX run_requested_at ON run (deployment_id, requested_at);
-- What the sweeper reads: unfinished runs alone, however many have ended.
CREATE INDEX run_unfinished ON run (deployment_id, run_no) WHERE ended_at IS NULL;
CREATE INDEX run_line ON run (requested_at, id) WHERE ended_at IS NULL;
CREATE INDEX run_held ON run (worker_id) WHERE worker_id IS NOT NULL;
CREATE INDEX run_newest ON run (requested_at, id);
CREATE INDEX idempotency_age ON idempotency_key (created_at);
CREATE INDEX worker_alive ON worker (lease_until) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX pool_waiter_ticket ON pool_waiter (pool, ticket);
CREATE INDEX pool_holder_pool ON pool_holder (pool);
CREATE UNIQUE INDEX deployment_place ON deployment (infrastructure_id, deployed_project_key);
CREATE INDEX deployment_project ON deployment (project_key, bundle_id);
CREATE INDEX api_key_login ON api_key (login);
CREATE INDEX hook_infrastructure ON hook (infrastructure_id, phase, position);
CREATE INDEX membership_group ON membership (group_name);
INSERT INTO pool (name, slot_limit, next_ticket, grants, timeouts) VALUES ('hooks', 3, 1, 0, 0);
INSERT INTO stage (kind, id, position, description) VALUES
  ('PROJECT', 'Development', 0, ''), ('PROJECT', 'Test', 1, ''), ('PROJECT', 'Production', 2, ''),
  ('API', 'Development', 0, ''), ('API', 'Test', 1, ''), ('API', 'Production', 2, '');
