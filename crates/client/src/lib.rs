//! An etcd client: endpoints, retries, watches that resume, leases that stay alive.
