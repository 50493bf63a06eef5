//! Waiting until the machine does nothing else: others' work is the largest error of a comparison.

use crate::probe::procfs;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Cores that may be busy on a machine called quiet.
const QUIET_CORES: f64 = 0.15;
/// Time over which that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Returns when the machine is quiet, or after `patience`; `false` when it was not quiet then.
pub(crate) async fn wait(patience: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let Some(before) = procfs::machine_time() else { return true };
        sleep(LOOK).await;
        let Some(after) = procfs::machine_time() else { return true };
        if after.busy_since(before).as_secs_f64() < QUIET_CORES * LOOK.as_secs_f64() {
            return true;
        }
    }
    patience.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn no_patience_asks_nothing() {
        assert!(block_on(wait(Duration::ZERO)).expect("runtime"));
    }

    #[test]
    fn patience_ends() {
        let begun = Instant::now();
        block_on(wait(Duration::from_millis(10))).expect("runtime");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
