//! Files that etcd wrote.
