//! Whole logs: equal on every member, and made good after a crash.

use super::*;

/// A log with something of everything; `seed` makes it another one.
fn busy_log(seed: u64) -> Vec<Entry> {
    let mut member = Member::new();
    member.conf_change(&add_member(1, false));
    member.entry(EntryType::EntryNormal, Vec::new());
    member.request(cluster_version("3.7.0"));
    let mut state = seed;
    let mut draw = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for step in 0..400_i64 {
        let (key, other) = (format!("k{}", draw(20)), format!("k{}", draw(20)));
        let lease = 1 + draw(4) as i64;
        match draw(12) {
            0 => drop(member.request(grant(lease, 60))),
            1 => drop(member.request(revoke(lease))),
            2 => drop(member.request(checkpoint(lease, 30))),
            3 => drop(member.request(compaction(step))),
            4 => drop(member.run(del(&key, &other))),
            5 => drop(member.run(put_lease(&key, lease))),
            6 => drop(member.run(txn(
                vec![exists(&key)],
                vec![del(&key, ""), txn(vec![], vec![put_lease(&other, lease)], vec![])],
                vec![put(&key, "else"), get("k", "l")],
            ))),
            7 => raise(&mut member, NOSPACE),
            8 => disarm(&mut member, NOSPACE),
            _ => drop(member.run(put(&key, &step.to_string()))),
        }
    }
    member.log
}

/// Everything of a member that must be equal on all.
fn state(member: &Member) -> (u32, String) {
    let hash = member.hash_kv();
    let view = member.backend.read().unwrap();
    let mut rest = String::new();
    for bucket in storage::Bucket::ALL {
        view.scan(bucket, &[], &mut |key, value| {
            rest += &format!("{} {key:02x?} {value:02x?}\n", bucket.name());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    let leases: Vec<_> = (1..5).map(|id| member.shared.lessor.lock().keys(LeaseId(id))).collect();
    rest += &format!("{leases:?} {:?}", member.shared.alarms.read());
    (hash, rest)
}

#[test]
fn the_same_entries_give_the_same_state() {
    for seed in 0..5 {
        let log = busy_log(seed);
        let mut one = Member::open(Default::default(), config(), log.clone());
        let mut two = Member::open(Default::default(), config(), log);
        two.context =
            Context { now_ms: 12_345, has_waiter: false, size_in_use: u64::MAX, unix_ns: 9 };
        let ops = |member: &mut Member| -> Vec<Vec<storage::Op>> {
            member.log.clone().iter().map(|entry| member.replay(entry).ops).collect()
        };
        assert_eq!(ops(&mut one), ops(&mut two));
        assert_eq!(state(&one), state(&two));
    }
}

#[test]
fn a_crash_at_any_point_is_made_good_by_the_log() {
    for seed in 0..5 {
        let log = busy_log(seed);
        let mut whole = Member::open(Default::default(), config(), log.clone());
        whole.replay_log();
        for flushed in [0, 1, 3, 57, 200, 391, log.len()] {
            let mut member = Member::open(Default::default(), config(), log.clone());
            for (entry, applied) in log.iter().zip(1..=flushed + 9) {
                member.replay(entry);
                if applied == flushed {
                    member.flush();
                }
            }
            let mut recovered = member.crash();
            assert_eq!(recovered.machine.applied().0, flushed as u64);
            recovered.replay_log();
            assert_eq!(state(&recovered), state(&whole), "seed {seed}, flushed {flushed}");
        }
    }
}

#[test]
fn an_entry_that_is_applied_already_has_no_effect() {
    let mut member = Member::new();
    member.entry(EntryType::EntryNormal, Vec::new());
    member.conf_change(&add_member(1, false));
    member.run(put("a", "1"));
    let before = state(&member);
    for entry in member.log.clone() {
        let applied = member.machine.apply(&entry, member.context);
        assert_eq!((applied.request_id, applied.result), (0, Ok(Response::Empty)));
        assert!(applied.ops.is_empty() && applied.effects.is_empty() && applied.changes.is_none());
    }
    assert_eq!(state(&member), before);
}

/// Everything in a backend, as operations for an empty one.
fn dump(member: &Member) -> Vec<storage::Op> {
    let mut ops = Vec::new();
    let view = member.backend.read().unwrap();
    for bucket in storage::Bucket::ALL {
        view.scan(bucket, &[], &mut |key, value| {
            let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            ops.push(storage::Op::Put { bucket, key, value });
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    ops
}

#[test]
fn a_member_goes_on_from_the_state_of_another() {
    for (seed, behind, sent) in [(0, 1, 200), (1, 57, 391), (2, 200, 205), (3, 0, 403)] {
        let log = busy_log(seed);
        let mut whole = Member::open(Default::default(), config(), log.clone());
        let mut member = Member::open(Default::default(), config(), log.clone());
        for entry in &log[..behind] {
            member.replay(entry);
        }
        for entry in &log[..sent] {
            whole.replay(entry);
        }
        whole.flush();
        let ops = dump(&whole);
        let old = dump(&member).into_iter().map(|op| match op {
            storage::Op::Put { bucket, key, .. } => storage::Op::Delete { bucket, key },
            delete => delete,
        });
        let old: Vec<_> = old.collect();
        let replaced = member.shared.store.replace(ops.into_iter().map(Ok), |ops| {
            let ops: Vec<_> = old.into_iter().map(Ok).chain(ops).collect::<Result<_, _>>()?;
            member.backend.commit(&ops)
        });
        let at = RaftIndex(sent as u64);
        let attachments = replaced.unwrap().attachments;
        member.machine.restore(&member.backend.clone(), attachments, at).unwrap();
        member.window = storage::Window::new();
        for entry in &log[sent..] {
            member.replay(entry);
            whole.replay(entry);
        }
        assert_eq!(state(&member), state(&whole), "seed {seed}");
    }
}
