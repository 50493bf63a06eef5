//! Scenarios: one member alone, and several on a simulated network and disk.

mod chaos;
mod cluster;
mod election;
mod harness;
mod members;
mod network;
mod pace;
mod reads;
mod single;
mod snapshot;
