//! Histories of a correct store under concurrent clients pass; with one answer changed they fail.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;
use crate::{history::Consistency, linear::Limits, store::Store};

/// Runs random requests through a store, each taking effect at one moment of its interval.
fn run(seed: u64, count: u64, keys: u32) -> History {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut store = Store::default();
    let mut story = Story::default();
    let mut told: Vec<Event> = Vec::new();
    for i in 0..count {
        let moment = i * 10;
        let (before, after) = (rng.random_range(0..200), rng.random_range(1..200));
        let request = request(&mut rng, &store, i, keys);
        let plan = store.plan(&request);
        let unanswered = rng.random_bool(0.05);
        let happens = !unanswered || rng.random();
        if happens && !plan.events.is_empty() {
            store.commit(plan.response.revision, &plan.events);
            told.extend(plan.events);
        }
        let from = moment - before.min(moment);
        story = if unanswered {
            story.open(from, request)
        } else {
            story.done(from, moment + after, request, plan.response)
        };
    }
    story.watched(count * 10 + 1000, &told).history
}

fn request(rng: &mut SmallRng, store: &Store, unique: u64, keys: u32) -> Request {
    let key = format!("k{}", rng.random_range(0..keys));
    let value = unique.to_string();
    let current = store.get(key.as_bytes()).map_or(0, |kv| kv.mod_revision);
    match rng.random_range(0..10) {
        0..3 => put(&key, &value),
        3..6 => get(&key),
        6 => delete(&key),
        7 => cas(&key, current, &value),
        8 => cas(&key, current - 1, &value),
        _ => {
            let pair = rng.random_range(0..keys) / 2 * 2;
            put_both(&format!("k{pair}"), &format!("k{}", pair + 1), &value)
        }
    }
}

fn verdict(history: &History) -> Report {
    let limits = Limits { steps: 100_000, ..Limits::default() };
    check(&mut history.clone(), Options { limits, ..Options::default() })
}

#[test]
fn correct_histories_pass() {
    for seed in 0..30 {
        let report = verdict(&run(seed, 400, 6));
        assert!(report.is_ok(), "seed {seed}: {report}");
        assert!(report.outcomes[1] > 0 && report.outcomes[2] > 0, "seed {seed}: {report}");
    }
}

#[test]
fn a_changed_answer_is_found() {
    let mut missed = [0, 0];
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut history = run(seed, 300, 4);
        let answered: Vec<usize> = (0..history.operations.len())
            .filter(|&i| history.operations[i].response().is_some())
            .filter(|&i| history.operations[i].request.consistency == Consistency::Linearizable)
            .collect();
        let victim = answered[rng.random_range(0..answered.len())];
        let Outcome::Done(response) = &mut history.operations[victim].outcome else { continue };
        match &mut response.results[0] {
            StepResult::Range(kvs) if kvs.is_empty() => kvs.push(kv("k0", "ghost", 1, 1, 1)),
            StepResult::Range(kvs) => kvs[0].value = "ghost".into(),
            StepResult::Delete { deleted } => *deleted = 1 - *deleted,
            StepResult::Put { .. } => response.revision += 1000,
        }
        let report = verdict(&history);
        missed[0] += usize::from(report.serial.violations.is_empty());
        missed[1] += usize::from(report.linear.violations.is_empty());
    }
    // A put that claims a revision far ahead leaves a gap for the one and may be the last of its
    // key for the other; a search may meet its limit.
    assert!(missed[0] <= 10, "by revisions missed {} of 40", missed[0]);
    assert!(missed[1] <= 10, "by search missed {} of 40", missed[1]);
}

#[test]
fn a_large_history_is_checked_in_little_memory() {
    let report = verdict(&run(7, 20_000, 400));
    assert!(report.is_ok(), "{report}");
    assert!(report.linear.groups >= 200);
}
