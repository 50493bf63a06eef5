//! Compaction: history before a revision becomes unreadable at once; the space follows later.

use api::etcdserverpb::{CompactionRequest, CompactionResponse};

use crate::{
    ApplyError, Effect, Response, Shared,
    outcome::{Traces, header},
};

/// Marks history before the revision as compacted.
pub(crate) fn compact(
    shared: &Shared,
    request: &CompactionRequest,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    shared.store.compact(request.revision, &mut traces.ops)?;
    let (revision, physical) = (request.revision, request.physical);
    traces.effects.push(Effect::Compact { revision, physical });
    let header = header(shared.store.revision());
    Ok(Response::Compaction(CompactionResponse { header }))
}
