//! Clusters of processes: a harness that starts, cuts, delays, pauses and kills members, and the tests on it.
