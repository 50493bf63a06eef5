//! Scenarios run against oxetcd and a real etcd.
