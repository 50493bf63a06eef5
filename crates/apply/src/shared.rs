//! What apply writes and everyone else reads.

use std::sync::Arc;

use lease::Lessor;
use membership::Membership;
use mvcc::Store;
use parking_lot::{Mutex, RwLock};

use crate::Alarms;

/// Handles of the state, cheap to clone. Only the apply thread changes anything through them, but
/// for the lessor's time: promotion, renewal, expiry.
#[derive(Clone)]
pub struct Shared {
    /// Keys and their history.
    pub store: Arc<Store>,
    /// Leases.
    pub lessor: Arc<Mutex<Lessor>>,
    /// Raised alarms.
    pub alarms: Arc<RwLock<Alarms>>,
    /// Members and the cluster version.
    pub membership: Arc<RwLock<Membership>>,
}
