-- Provisioning: what was written down, the machines, and what they were told to do.
CREATE TABLE provision_documents (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  document TEXT NOT NULL,
  changed {real} NOT NULL,
  PRIMARY KEY (kind, name)
);

CREATE TABLE provision_nodes (
  number {identity},
  id TEXT NOT NULL UNIQUE,
  hardware TEXT NOT NULL,
  facts TEXT NOT NULL,
  metadata TEXT NOT NULL,
  state TEXT NOT NULL,
  policy TEXT NOT NULL,
  installed TEXT NOT NULL,
  hostname TEXT NOT NULL,
  host_key TEXT NOT NULL,
  held TEXT NOT NULL,
  order_id TEXT NOT NULL,
  orders INTEGER NOT NULL,
  address TEXT NOT NULL,
  registered {real} NOT NULL,
  seen {real} NOT NULL
);
CREATE INDEX provision_nodes_state ON provision_nodes (state);
CREATE INDEX provision_nodes_policy ON provision_nodes (policy);
CREATE INDEX provision_nodes_hostname ON provision_nodes (hostname);

-- Who has which identity: two machines cannot have the same one.
CREATE TABLE provision_identities (identity TEXT PRIMARY KEY, node TEXT NOT NULL);
CREATE INDEX provision_identities_node ON provision_identities (node);

-- The newest boot into the microkernel of each machine; its token is known to the machine alone.
CREATE TABLE provision_boots (
  node TEXT PRIMARY KEY,
  token TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  address TEXT NOT NULL,
  at {real} NOT NULL
);
CREATE UNIQUE INDEX provision_boots_token ON provision_boots (token);

CREATE TABLE provision_orders (
  number {identity},
  id TEXT NOT NULL UNIQUE,
  node TEXT NOT NULL,
  kind TEXT NOT NULL,
  policy TEXT NOT NULL,
  state TEXT NOT NULL,
  document TEXT NOT NULL,
  token TEXT NOT NULL,
  why TEXT NOT NULL,
  made {real} NOT NULL,
  changed {real} NOT NULL
);
CREATE INDEX provision_orders_state ON provision_orders (state, number);
CREATE INDEX provision_orders_node ON provision_orders (node);
CREATE UNIQUE INDEX provision_orders_token ON provision_orders (token) WHERE token <> '';

-- What happened to each machine; hooks are told of it in this order.
CREATE TABLE provision_log (
  id {identity},
  node TEXT NOT NULL,
  at {real} NOT NULL,
  event TEXT NOT NULL,
  entry TEXT NOT NULL
);
CREATE INDEX provision_log_node ON provision_log (node, id);
