//! Who may call what: every method by everyone, compared with what real etcd answers.
//!
//! `transcripts/auth_matrix.txt` is what etcd 3.7.1 answers:
//! `OXETCD_BIN=/path/to/etcd-3.7 UPDATE=1 cargo test -p conformance --test auth_matrix` writes it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use conformance::{
    authentication::matrix::{self, CALLERS, Matrix},
    member::{Binary, Member},
};

/// Cheap hashes: the tests are about rights.
const ARGUMENTS: [&str; 1] = ["--bcrypt-cost=4"];

fn transcript() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts/auth_matrix.txt")
}

#[tokio::test]
async fn every_call_is_judged_as_in_etcd_3_7() -> Result<()> {
    let member = Member::under_test(&ARGUMENTS).await;
    let found = matrix::text(&matrix::run(&member).await?);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(transcript(), &found)?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(transcript()).context("read the transcript")?;
    let differing = differences(&expected, &found);
    assert!(differing.is_empty(), "etcd 3.7.1 (-) and this (+):\n{}", differing.join("\n"));
    Ok(())
}

fn differences(expected: &str, found: &str) -> Vec<String> {
    let calls = |text: &str| -> BTreeMap<String, String> {
        let mut calls = BTreeMap::new();
        let mut call = String::new();
        for line in text.lines() {
            if line.starts_with(' ') {
                *calls.entry(call.clone()).or_insert_with(String::new) += line;
            } else {
                call = line.to_owned();
            }
        }
        calls
    };
    let (expected, found) = (calls(expected), calls(found));
    let all: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    all.into_iter()
        .filter(|call| expected.get(*call) != found.get(*call))
        .map(|call| format!("{call}\n  -{:?}\n  +{:?}", expected.get(call), found.get(call)))
        .collect()
}

/// What 3.5 answers otherwise, by design: the beginning of the call, with the reason.
const OF_3_5: &[(&str, &str)] = &[
    ("Auth/AuthStatus", "root's alone in 3.5, everyone's in 3.6"),
    ("KV/RangeStream", "came with 3.7"),
    ("Maintenance/Defragment", "3.5 shows the texts of errors inside the server, with no code"),
    ("Maintenance/Hash", "the same, also for HashKV"),
    ("Maintenance/Snapshot", "the same"),
    ("Maintenance/Status", "root's alone in 3.5, any user's in 3.6"),
    ("Watch/Watch from work on", "GHSA-xg4h-6gfc-h4m8: 3.5.30 lets an open end pass"),
];

/// Needs `OXETCD_REFERENCE_ETCD`.
#[tokio::test]
async fn only_known_answers_differ_from_etcd_3_5() -> Result<()> {
    if std::env::var_os("OXETCD_REFERENCE_ETCD").is_none() {
        return Ok(());
    }
    let reference = Member::start(&Binary::reference()?, &ARGUMENTS).await?;
    let theirs = matrix::run(&reference).await?;
    let member = Member::under_test(&ARGUMENTS).await;
    let ours = matrix::run(&member).await?;
    let unknown: Vec<_> = differing_cells(&ours, &theirs)
        .into_iter()
        .filter(|(call, _)| !OF_3_5.iter().any(|(known, _)| call.starts_with(known)))
        .map(|(call, text)| format!("{call}: {text}"))
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    Ok(())
}

fn differing_cells(ours: &Matrix, theirs: &Matrix) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for (call, answers) in ours {
        for (at, caller) in CALLERS.iter().enumerate() {
            let (ours, theirs) = (&answers[at], &theirs[call][at]);
            if ours != theirs {
                cells.push((call.clone(), format!("{caller}: {ours:?}, 3.5: {theirs:?}")));
            }
        }
    }
    cells
}
