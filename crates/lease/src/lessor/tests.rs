//! The lessor on a clock set by hand.

use storage::{Backend, Bucket, mem::MemBackend, schema};

use super::*;
use crate::LeaseAction;

const S: u64 = 1000;

fn primary() -> Lessor {
    let mut lessor = Lessor::new(Options::new(2));
    lessor.promote(Term(1), 0, 0);
    lessor
}

fn grant(lessor: &mut Lessor, id: i64, ttl: i64, now: u64) -> i64 {
    lessor.grant(LeaseId(id), ttl, now, &mut Vec::new()).unwrap()
}

fn tick(lessor: &mut Lessor, now: u64) -> Vec<LeaseAction> {
    let mut out = Vec::new();
    lessor.handle_tick(now, &mut out);
    out
}

fn revoked(lessor: &mut Lessor, now: u64) -> Vec<i64> {
    let ids = tick(lessor, now).into_iter().flat_map(|action| match action {
        LeaseAction::Revoke(ids) => ids,
        LeaseAction::Checkpoint(_) => Vec::new(),
    });
    ids.map(|id| id.0).collect()
}

#[test]
fn grants_are_bounded_and_unique() {
    let mut lessor = primary();
    for (ttl, granted) in [(0, 2), (-5, 2), (1, 2), (3, 3), (MAX_TTL_S, MAX_TTL_S)] {
        assert_eq!(grant(&mut lessor, ttl + 10, ttl, 0), granted);
    }
    let mut ops = Vec::new();
    let mut refused = |id, ttl| lessor.grant(LeaseId(id), ttl, 0, &mut ops).unwrap_err();
    assert_eq!(refused(1, MAX_TTL_S + 1), Error::TtlTooLarge);
    assert_eq!(refused(10, MAX_TTL_S + 1), Error::TtlTooLarge);
    assert_eq!(refused(10, 1), Error::Exists);
    assert_eq!(refused(0, 1), Error::NotFound);
    assert!(ops.is_empty());
    grant(&mut lessor, -7, 1, 0);
    assert!(lessor.contains(LeaseId(-7)));
}

#[test]
fn what_is_stored_comes_back_without_a_deadline() {
    let backend = MemBackend::new();
    let mut lessor = primary();
    let mut ops = Vec::new();
    lessor.grant(LeaseId(5), 60, 0, &mut ops).unwrap();
    lessor.grant(LeaseId(-1), 70, 0, &mut ops).unwrap();
    lessor.grant(LeaseId(6), 80, 0, &mut ops).unwrap();
    lessor.checkpoint(LeaseId(5), 33, true, &mut ops);
    lessor.checkpoint(LeaseId(-1), 44, false, &mut ops);
    lessor.revoke(LeaseId(6), &mut ops).unwrap();
    backend.commit(&ops).unwrap();

    let tx = backend.read().unwrap();
    let key = tx.get(Bucket::Lease, &[0, 0, 0, 0, 0, 0, 0, 5]).unwrap();
    assert_eq!(key.unwrap(), [0x08, 5, 0x10, 60, 0x18, 33]);
    let stored = schema::lease::all(&*tx).unwrap();
    let mut restored = Lessor::new(Options::new(2));
    let key = |text: &'static str| Bytes::from(text);
    restored
        .restore(stored, [(LeaseId(5), key("b")), (LeaseId(5), key("a")), (LeaseId(6), key("x"))]);
    assert_eq!(restored.keys(LeaseId(5)).unwrap(), ["a", "b"]);
    assert_eq!(restored.keys(LeaseId(6)), None);
    assert!(!restored.is_primary());
    assert_eq!(revoked(&mut restored, u64::MAX), []);

    restored.promote(Term(1), S, 100 * S);
    let left = |id| restored.time_to_live(LeaseId(id), 100 * S).unwrap();
    assert_eq!(left(5), TimeToLive { granted_ttl: 60, remaining_ttl: Some(34) });
    assert_eq!(left(-1), TimeToLive { granted_ttl: 70, remaining_ttl: Some(71) });
}

#[test]
fn an_expired_lease_is_asked_for_until_it_is_revoked() {
    let mut lessor = primary();
    grant(&mut lessor, 1, 5, 0);
    grant(&mut lessor, 2, 3, 0);
    assert_eq!(revoked(&mut lessor, 3 * S - 1), []);
    assert_eq!(revoked(&mut lessor, 3 * S), [2]);
    assert_eq!(revoked(&mut lessor, 4 * S), []);
    assert_eq!(lessor.renew(LeaseId(2), 4 * S), Err(RenewError::Expired));
    assert_eq!(revoked(&mut lessor, 6 * S), [1]);
    assert_eq!(revoked(&mut lessor, 10 * S), [2]);
    lessor.revoke(LeaseId(2), &mut Vec::new()).unwrap();
    assert_eq!(lessor.renew(LeaseId(2), 10 * S), Err(RenewError::NotFound));
    assert_eq!(revoked(&mut lessor, 100 * S), [1]);
}

#[test]
fn renewal_gives_the_full_time_again() {
    let mut lessor = primary();
    grant(&mut lessor, 1, 5, 0);
    assert_eq!(lessor.renew(LeaseId(1), 4 * S), Ok(5));
    assert_eq!(revoked(&mut lessor, 8 * S), []);
    assert_eq!(lessor.time_to_live(LeaseId(1), 8 * S + 1).unwrap().remaining_ttl, Some(0));
    assert_eq!(lessor.time_to_live(LeaseId(1), 11 * S).unwrap().remaining_ttl, Some(-2));
    assert_eq!(lessor.time_to_live(LeaseId(3), 0), None);
    assert_eq!(revoked(&mut lessor, 9 * S), [1]);
}

#[test]
fn followers_never_expire_or_renew() {
    let mut lessor = primary();
    grant(&mut lessor, 1, 5, 0);
    lessor.demote();
    assert_eq!(revoked(&mut lessor, 1000 * S), []);
    assert_eq!(lessor.renew(LeaseId(1), S), Err(RenewError::NotPrimary));
    let left = TimeToLive { granted_ttl: 5, remaining_ttl: None };
    assert_eq!(lessor.time_to_live(LeaseId(1), S), Some(left));
    grant(&mut lessor, 2, 5, 0);
    lessor.promote(Term(2), S, 2000 * S);
    assert_eq!(revoked(&mut lessor, 2006 * S - 1), []);
    assert_eq!(revoked(&mut lessor, 2006 * S), [1, 2]);
}

#[test]
fn what_has_expired_does_not_come_back_within_a_term() {
    let mut lessor = primary();
    grant(&mut lessor, 1, 5, 0);
    assert_eq!(revoked(&mut lessor, 5 * S), [1]);
    // The revocation is on its way when another empty entry of this term is applied.
    lessor.promote(Term(1), S, 5 * S + 1);
    assert_eq!(lessor.renew(LeaseId(1), 5 * S + 2), Err(RenewError::Expired));
    // In a later term nothing of it counts.
    lessor.promote(Term(2), S, 6 * S);
    assert_eq!(lessor.primary_term(), Some(Term(2)));
    assert_eq!(lessor.renew(LeaseId(1), 6 * S), Ok(5));
    lessor.demote();
    assert_eq!(lessor.primary_term(), None);
}

#[test]
fn keys_belong_to_a_lease_until_detached() {
    let mut lessor = primary();
    grant(&mut lessor, 1, 5, 0);
    for key in ["b", "c", "a", "b"] {
        lessor.attach(LeaseId(1), key.as_bytes());
    }
    lessor.detach(LeaseId(1), b"c");
    lessor.attach(LeaseId(2), b"z");
    let mut ops = Vec::new();
    assert_eq!(lessor.revoke(LeaseId(1), &mut ops).unwrap(), ["a", "b"]);
    assert_eq!(ops.len(), 1);
    assert_eq!(lessor.revoke(LeaseId(1), &mut ops), Err(Error::NotFound));
    assert_eq!(lessor.count(), 0);
}

#[test]
fn leases_are_listed_by_what_they_have_left() {
    let mut lessor = primary();
    for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
        grant(&mut lessor, id, ttl, 0);
    }
    lessor.renew(LeaseId(2), 9 * S).unwrap();
    assert_eq!(lessor.leases(), [LeaseId(2), LeaseId(3), LeaseId(1)]);
    lessor.renew(LeaseId(2), 9 * S + 1).unwrap();
    lessor.renew(LeaseId(3), 1).unwrap();
    assert_eq!(lessor.leases(), [LeaseId(2), LeaseId(3), LeaseId(1)]);
    lessor.demote();
    assert_eq!(lessor.leases(), [LeaseId(1), LeaseId(2), LeaseId(3)]);
}

#[test]
fn many_leases_drip_out_after_a_change_of_leader() {
    let mut lessor = Lessor::new(Options::new(2));
    let count = 20_000;
    for id in 1..=count {
        grant(&mut lessor, id, 10, 0);
    }
    lessor.promote(Term(1), S, 0);
    let (mut now, mut gone) = (0, 0);
    while gone < count {
        now += 500;
        let ids = revoked(&mut lessor, now);
        assert!(ids.len() <= 500 && (ids.is_empty() || now >= 11 * S));
        for id in &ids {
            lessor.revoke(LeaseId(*id), &mut Vec::new()).unwrap();
        }
        gone += i64::try_from(ids.len()).unwrap();
    }
    // 750 per second after the first second.
    assert!((11 * S + 25 * S..11 * S + 28 * S).contains(&now), "{now}");
}

#[test]
fn long_leases_are_checkpointed_until_renewed() {
    let mut options = Options::new(2);
    options.checkpoint_interval_ms = Some(300 * S);
    let mut lessor = Lessor::new(options);
    lessor.promote(Term(1), 0, 0);
    grant(&mut lessor, 1, 1000, 0);
    grant(&mut lessor, 2, 300, 0);
    let checkpoint = |id, remaining_ttl| {
        vec![LeaseAction::Checkpoint(vec![LeaseCheckpoint { id, remaining_ttl }])]
    };
    assert_eq!(tick(&mut lessor, 299 * S), []);
    lessor.renew(LeaseId(2), 299 * S).unwrap();
    assert_eq!(tick(&mut lessor, 300 * S + 1), checkpoint(1, 700));
    lessor.checkpoint(LeaseId(1), 700, true, &mut Vec::new());
    assert_eq!(tick(&mut lessor, 301 * S), []);

    // A change of leader now counts from the record.
    assert_eq!(lessor.renew(LeaseId(1), 310 * S), Err(RenewError::Checkpointed));
    lessor.promote(Term(2), 0, 310 * S);
    assert_eq!(lessor.time_to_live(LeaseId(1), 310 * S).unwrap().remaining_ttl, Some(700));

    lessor.checkpoint(LeaseId(1), 0, true, &mut Vec::new());
    assert_eq!(lessor.renew(LeaseId(1), 310 * S), Ok(1000));
    assert_eq!(tick(&mut lessor, 620 * S).last(), checkpoint(1, 690).last());
}

#[test]
fn a_renewed_lease_without_a_record_is_looked_at_again() {
    let mut options = Options::new(2);
    options.checkpoint_interval_ms = Some(300 * S);
    let mut lessor = Lessor::new(options);
    lessor.promote(Term(1), 0, 0);
    grant(&mut lessor, 1, 1000, 0);
    lessor.renew(LeaseId(1), 300 * S).unwrap();
    assert_eq!(tick(&mut lessor, 300 * S), []);
    let recorded = LeaseCheckpoint { id: 1, remaining_ttl: 700 };
    assert_eq!(tick(&mut lessor, 600 * S), [LeaseAction::Checkpoint(vec![recorded])]);
}
