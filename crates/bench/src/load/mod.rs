//! The engine of a load: when requests start ([`pace`]), what is recorded of them ([`record`]),
//! how their clients are run and watched ([`run`], [`unary`]), with which bytes ([`payload`]).

pub(crate) mod fleet;
pub(crate) mod pace;
pub(crate) mod payload;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod timer;
pub(crate) mod unary;
