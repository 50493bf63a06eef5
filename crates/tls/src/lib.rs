//! TLS for listeners and connections: certificates that are read again when their files change.
