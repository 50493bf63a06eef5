//! Users, roles and permissions: the auth store as a deterministic state machine.
