//! Feature gates: `--feature-gates Name=true,Other=false`.
//!
//! Source: etcd 3.7's gates and their defaults. A bulk gate (`AllAlpha`, `AllBeta`) sets the gates
//! of its stage that were not set before; a gate's own value always wins over a bulk one.

use std::collections::BTreeMap;

use crate::goconv::{Quoted, parse_bool};

/// How settled a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off unless asked for.
    Alpha,
    /// Usually on.
    Beta,
}

/// One gate: its name, its value when nobody sets it, and its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The name, as written in the flag.
    pub name: &'static str,
    /// The value when it is not set.
    pub default: bool,
    /// The stage, which decides what bulk gate it follows.
    pub stage: Stage,
}

/// The bulk gates and the nine features of etcd 3.7, by name.
pub const GATES: [Gate; 11] = [
    gate("AllAlpha", false, Stage::Alpha),
    gate("AllBeta", false, Stage::Beta),
    gate("CompactHashCheck", false, Stage::Alpha),
    gate("FastLeaseKeepAlive", true, Stage::Beta),
    gate("InitialCorruptCheck", false, Stage::Alpha),
    gate("LeaseCheckpoint", false, Stage::Alpha),
    gate("LeaseCheckpointPersist", false, Stage::Alpha),
    gate("PriorityRequest", false, Stage::Alpha),
    gate("SetMemberLocalAddr", false, Stage::Alpha),
    gate("StopGRPCServiceOnDefrag", false, Stage::Alpha),
    gate("TxnModeWriteWithSharedBuffer", true, Stage::Beta),
];

const fn gate(name: &'static str, default: bool, stage: Stage) -> Gate {
    Gate { name, default, stage }
}

/// The gates that were set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    set: BTreeMap<&'static str, bool>,
}

impl FeatureGates {
    /// Sets gates from `Name=bool,...`. On an error nothing is set.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let mut asked: BTreeMap<&str, bool> = BTreeMap::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let Some((name, value)) = item.split_once('=') else {
                return Err(format!("missing bool value for {}", item.trim()));
            };
            let (name, value) = (name.trim(), value.trim());
            let Some(on) = parse_bool(value) else {
                let quoted = Quoted(value);
                let why = format!("strconv.ParseBool: parsing {quoted}: invalid syntax");
                return Err(format!("invalid value of {name}={value}, err: {why}"));
            };
            asked.insert(name, on);
        }
        self.set_all(&asked)
    }

    fn set_all(&mut self, asked: &BTreeMap<&str, bool>) -> Result<(), String> {
        let mut set = self.set.clone();
        let mut bulk = Vec::new();
        for (name, on) in asked {
            let Some(gate) = GATES.iter().find(|gate| gate.name == *name) else {
                return Err(format!("unrecognized feature gate: {name}"));
            };
            set.insert(gate.name, *on);
            if gate.name.starts_with("All") {
                bulk.push((gate.stage, *on));
            }
        }
        for (stage, on) in bulk {
            for gate in GATES.iter().filter(|gate| gate.stage == stage) {
                set.entry(gate.name).or_insert(on);
            }
        }
        self.set = set;
        Ok(())
    }

    /// Whether a gate is on.
    ///
    /// # Panics
    /// When there is no gate of this name.
    pub fn enabled(&self, name: &str) -> bool {
        let gate = GATES.iter().find(|gate| gate.name == name);
        let gate = gate.unwrap_or_else(|| panic!("there is no feature gate {name}"));
        self.set.get(gate.name).copied().unwrap_or(gate.default)
    }

    /// The gates that were set, as `Name=bool,...`, sorted.
    pub fn joined(&self) -> String {
        let pairs: Vec<String> = self.set.iter().map(|(name, on)| format!("{name}={on}")).collect();
        pairs.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_set_and_shown() {
        let mut gates = FeatureGates::default();
        gates.set("LeaseCheckpoint=true, PriorityRequest = T ,").expect("known gates");
        assert!(gates.enabled("LeaseCheckpoint") && gates.enabled("PriorityRequest"));
        assert!(gates.enabled("FastLeaseKeepAlive") && !gates.enabled("InitialCorruptCheck"));
        gates.set("LeaseCheckpoint=0").expect("a known gate");
        assert_eq!(gates.joined(), "LeaseCheckpoint=false,PriorityRequest=true");
    }

    #[test]
    fn a_gates_own_value_wins_over_a_bulk_one() {
        let mut gates = FeatureGates::default();
        gates.set("AllAlpha=true,InitialCorruptCheck=false,AllBeta=false").expect("known gates");
        assert!(gates.enabled("CompactHashCheck") && !gates.enabled("InitialCorruptCheck"));
        assert!(!gates.enabled("FastLeaseKeepAlive"));
    }

    #[test]
    fn errors_are_etcds_and_change_nothing() {
        let cases = [
            ("X=true", "unrecognized feature gate: X"),
            ("AllAlpha", "missing bool value for AllAlpha"),
            (
                "AllAlpha=v",
                "invalid value of AllAlpha=v, err: strconv.ParseBool: parsing \"v\": \
                 invalid syntax",
            ),
            ("AllAlpha=true,X=true", "unrecognized feature gate: X"),
        ];
        for (text, error) in cases {
            let mut gates = FeatureGates::default();
            assert_eq!(gates.set(text), Err(error.to_string()));
            assert_eq!(gates, FeatureGates::default());
        }
    }
}
