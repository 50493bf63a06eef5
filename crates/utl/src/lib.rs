//! The `etcdutl` command line.
