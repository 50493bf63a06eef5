//! The state machine against the model: requests of the input's making, compared answer by answer,
//! with flushes, compaction in steps, and crashes between them.

use arbitrary::{Arbitrary, Unstructured};
use model::Model;

use crate::{
    member::{self, Member},
    requests::Step,
};

/// Steps of one input.
const STEPS_MAX: usize = 60;

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let (mut member, mut model) = (Member::new(), Model::new());
    for step in 1..STEPS_MAX as u64 {
        if source.is_empty() {
            return;
        }
        let Ok(next) = Step::arbitrary(&mut source) else { return };
        let now_ms = step * 10;
        match next {
            Step::Request(request) => {
                let Some(request) = request.valid(step, model.keys().revision()) else { continue };
                let expected = model.apply(&request, now_ms);
                let applied = member.apply(&request, now_ms);
                member::compare(&expected, &applied.result, &request);
            }
            Step::Flush => member.flush(),
            Step::Compact(batch) => member.compaction_step(usize::from(batch)),
            Step::Crash => member = member.crash(now_ms),
            Step::Read(range) => member.compare_range(&model, &range.request(&model)),
        }
    }
}
