//! Checkers over recorded histories: linearizability, watch guarantees, leases.
