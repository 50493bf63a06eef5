//! What apply writes and everyone else reads.

use std::sync::Arc;

use auth::{AuthStore, SimpleTokens};
use lease::Lessor;
use membership::Membership;
use mvcc::Store;
use parking_lot::{Mutex, RwLock};

use crate::Alarms;

/// Handles of the state, cheap to clone. Only the apply thread changes anything through them, but
/// for time: promotion, renewal and expiry of leases, use and expiry of tokens.
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
    /// Users and roles. When taken together, before [`Shared::tokens`] and [`Shared::lessor`].
    pub auth: Arc<RwLock<AuthStore>>,
    /// Who logged in.
    pub tokens: Arc<Mutex<SimpleTokens>>,
    /// The keys of the v2 API. When taken together, after [`Shared::membership`].
    pub v2: Arc<RwLock<v2store::Store>>,
}
