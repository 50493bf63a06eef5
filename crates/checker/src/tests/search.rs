//! The search against all permutations, on small histories of a register.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::linear::{Found, Limits, Model, Timed, check};

/// A register with blind writes.
struct Register;

#[derive(Clone, Copy, Debug)]
enum Op {
    Write(u8),
    Read(u8),
}

impl Model for Register {
    type State = u8;
    type Op = Op;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, op: &Op, answered: bool, next: &mut Vec<u8>) {
        match op {
            Op::Write(value) => next.push(*value),
            Op::Read(value) if value == state || !answered => next.push(*state),
            Op::Read(_) => {}
        }
    }
}

/// Tries everything.
fn exists(operations: &[Timed<'_, Op>], state: u8, placed: u32) -> bool {
    let open = |i: &usize| placed >> i & 1 == 0;
    let rest: Vec<usize> = (0..operations.len()).filter(open).collect();
    let deadline = rest.iter().filter_map(|&i| operations[i].returned).min();
    let Some(deadline) = deadline else { return true };
    rest.iter().filter(|&&i| operations[i].invoked <= deadline).any(|&i| {
        let mut next = Vec::new();
        Register.step(&state, operations[i].op, operations[i].returned.is_some(), &mut next);
        next.iter().any(|&state| exists(operations, state, placed | 1 << i))
    })
}

#[test]
fn agrees_with_trying_everything() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..3000 {
        let ops: Vec<(u64, Option<u64>, Op)> = (0..rng.random_range(1..=7))
            .map(|_| {
                let invoked = rng.random_range(0..12);
                let returned = invoked + rng.random_range(0..6);
                let value = rng.random_range(0..3);
                let op = if rng.random() { Op::Write(value) } else { Op::Read(value) };
                (invoked, rng.random_bool(0.8).then_some(returned), op)
            })
            .collect();
        let timed: Vec<Timed<'_, Op>> = ops
            .iter()
            .map(|(invoked, returned, op)| Timed { invoked: *invoked, returned: *returned, op })
            .collect();
        let expected = exists(&timed, 0, 0);
        let found = check(&Register, &timed, Limits::default());
        assert_eq!(found == Found::Order, expected, "{ops:?}");
        if let Found::None(window) = found {
            refused += 1;
            shortest(&timed, timed[window.last].returned.unwrap());
        }
    }
    assert!(refused > 300, "only {refused} histories were to be refused");
}

/// The beginning up to `end` has no order, every shorter one has.
fn shortest(timed: &[Timed<'_, Op>], end: u64) {
    let cut = |limit: u64| -> Vec<Timed<'_, Op>> {
        let begun = timed.iter().filter(|op| op.invoked <= limit);
        begun.map(|op| Timed { returned: op.returned.filter(|at| *at <= limit), ..*op }).collect()
    };
    assert!(!exists(&cut(end), 0, 0));
    assert!(end == 0 || exists(&cut(end - 1), 0, 0));
}

#[test]
fn limits_end_a_search() {
    // Many concurrent writes without answers, then a read that nothing explains.
    let writes: Vec<Op> = (1..40).map(Op::Write).collect();
    let read = Op::Read(77);
    let mut timed: Vec<Timed<'_, Op>> =
        writes.iter().map(|op| Timed { invoked: 0, returned: Some(10), op }).collect();
    timed.push(Timed { invoked: 11, returned: Some(12), op: &read });
    let few_steps = Limits { steps: 10_000, ..Limits::default() };
    assert!(matches!(check(&Register, &timed, few_steps), Found::Unknown(_)));
    let little_memory = Limits { memory: 100_000, ..Limits::default() };
    assert!(matches!(check(&Register, &timed, little_memory), Found::Unknown(_)));
}

#[test]
fn long_histories_take_little() {
    // One key, a handful of operations at a time, now and then one without an answer.
    let mut rng = SmallRng::seed_from_u64(2);
    let mut ops = Vec::new();
    let mut value = 0;
    for i in 0..30_000_u64 {
        let at = i * 10;
        let (from, to) = (at - rng.random_range(0..20).min(at), at + rng.random_range(1..20));
        if rng.random_bool(0.3) {
            value = rng.random_range(0..250);
            ops.push((from, Some(to), Op::Write(value)));
        } else if rng.random_bool(0.001) {
            ops.push((from, None, Op::Write(251)));
        } else {
            ops.push((from, Some(to), Op::Read(value)));
        }
    }
    let timed: Vec<Timed<'_, Op>> = ops
        .iter()
        .map(|(invoked, returned, op)| Timed { invoked: *invoked, returned: *returned, op })
        .collect();
    assert_eq!(check(&Register, &timed, Limits::default()), Found::Order);
}
