//! `compare`: the same workloads on two servers, in turn, on the same machine in the same run.
//!
//! Every run has a fresh server in a fresh folder. Rounds alternate which server goes first, so that
//! a slow drift of the machine falls on both alike.

pub(crate) mod machine;
pub(crate) mod quiet;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod workloads;

pub(crate) use run::run;
