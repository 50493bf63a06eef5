//! The `etcdctl` command line.
