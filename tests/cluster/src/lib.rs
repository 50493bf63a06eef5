//! Clusters of real processes: started, cut off, delayed, paused, killed, wiped, and judged.
//!
//! | module | what |
//! |---|---|
//! | [`network`] | loopback ports, or a network namespace per member with a wire that can fail |
//! | [`binary`], [`process`] | what a member runs, and the running of it |
//! | [`cluster`] | members with their flags and directories; changes of membership |
//! | [`certificates`] | of members and clients |
//! | [`connection`] | gRPC stubs of one endpoint |
//! | [`disk`] | a disk of its own for a member, which can hang |
//! | [`volatile`] | one that loses what was not synced, or is full, slow or failing |
//! | [`load`] | clients that write down what they asked for and were answered |
//! | [`measure`] | latencies of puts |
//! | [`chaos`] | faults at random while the load runs, and the verdict |
//!
//! Members may be oxetcd or real etcd, mixed in one cluster. Namespaces need root; without it
//! everything but faults of the network works on loopback, and what needs them says so.

pub mod binary;
pub mod certificates;
pub mod chaos;
pub mod cluster;
pub mod connection;
pub mod disk;
pub mod load;
pub mod measure;
pub mod network;
pub mod process;
pub mod volatile;
