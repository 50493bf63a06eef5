//! Passwords of users of the v2 API: other users, the same rules for how many are worked on at once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::Gate;
use crate::status::Failure;

impl Gate {
    /// Whether `password` is the one of `hash`, which is stored for a user of the v2 API.
    pub(crate) async fn v2_matches(
        &self,
        user: &str,
        hash: String,
        password: String,
    ) -> Result<bool, Failure> {
        self.passwords.matches(&format!("v2 {user}"), Bytes::from(hash), password).await
    }

    /// The hash of a new password, as it is stored.
    pub(crate) async fn v2_hash(&self, password: String) -> Result<String, Failure> {
        let encoded = self.passwords.hash(password).await?;
        let hash = STANDARD.decode(encoded).expect("a hash is encoded as requests carry it");
        Ok(String::from_utf8(hash).expect("a hash of bcrypt is text"))
    }
}
