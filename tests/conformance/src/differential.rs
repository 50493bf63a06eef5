//! One random sequence of requests sent to two servers, every answer compared.
//!
//! The [`generate::Generator`] draws requests from a seed; [`target::Target`] sends them and makes
//! answers comparable (cluster and member ids, terms); [`known`] lists where two versions of etcd
//! differ on purpose. Everything else that differs is a fault of one of the servers.
//!
//! The sequence depends on nothing but the seed, the options and the revisions that were answered,
//! so a difference is found again by the same command line.

pub mod generate;
pub mod known;
pub mod normalise;
pub mod op;
pub mod report;
pub mod run;
pub mod target;
