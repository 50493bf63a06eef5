//! Simple tokens: random text given at login, known to every member, good for as long as it is used.
//!
//! A token lives in memory only. Each use prolongs its life to the full time from then on, at the
//! member that was asked. Time is a number of milliseconds that the caller passes in.

use std::collections::{BTreeMap, HashMap};

/// A token that was used at least this long ago is looked at by the next [`SimpleTokens::sweep`].
const RESOLUTION_MS: u64 = 1000;

/// The tokens that are good now.
#[derive(Debug)]
pub struct SimpleTokens {
    enabled: bool,
    ttl_ms: u64,
    tokens: HashMap<String, Token>,
    /// When to look at which tokens, by second. Each known token stands in one place at least; its
    /// life may have been prolonged since.
    due: BTreeMap<u64, Vec<String>>,
}

#[derive(Debug)]
struct Token {
    user: String,
    ends_ms: u64,
}

impl SimpleTokens {
    /// No tokens, and none are taken until [`SimpleTokens::enable`]. `ttl_ms` is how long an unused
    /// token lives.
    pub fn new(ttl_ms: u64) -> SimpleTokens {
        SimpleTokens { enabled: false, ttl_ms, tokens: HashMap::new(), due: BTreeMap::new() }
    }

    /// Authentication was turned on.
    pub fn enable(&mut self) {
        self.enabled = true;
    }

    /// Authentication was turned off: all tokens are void.
    pub fn disable(&mut self) {
        *self = SimpleTokens::new(self.ttl_ms);
    }

    /// Gives a user a token.
    pub fn assign(&mut self, user: &str, token: String, now_ms: u64) {
        if !self.enabled {
            return;
        }
        let ends_ms = now_ms.saturating_add(self.ttl_ms);
        self.schedule(token.clone(), ends_ms);
        self.tokens.insert(token, Token { user: user.to_owned(), ends_ms });
    }

    /// The user of a token, which lives on from now.
    pub fn user_of(&mut self, token: &str, now_ms: u64) -> Option<&str> {
        let known = self.tokens.get_mut(token).filter(|token| now_ms <= token.ends_ms)?;
        known.ends_ms = now_ms.saturating_add(self.ttl_ms);
        Some(&known.user)
    }

    /// Voids the tokens of a user: it is gone, or has another password.
    pub fn invalidate_user(&mut self, user: &str) {
        self.retain_users(|name| name != user);
    }

    /// Voids the tokens of all users but these.
    pub fn retain_users(&mut self, keep: impl Fn(&str) -> bool) {
        self.tokens.retain(|_, token| keep(&token.user));
    }

    /// Drops the tokens whose life has ended; to be called about once a second.
    pub fn sweep(&mut self, now_ms: u64) {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().saturating_mul(RESOLUTION_MS) > now_ms {
                return;
            }
            for name in entry.remove() {
                match self.tokens.get(&name).map(|token| token.ends_ms) {
                    Some(ends_ms) if ends_ms < now_ms => {
                        self.tokens.remove(&name);
                    }
                    Some(ends_ms) => self.schedule(name, ends_ms.max(now_ms + RESOLUTION_MS)),
                    None => {}
                }
            }
        }
    }

    /// How many tokens are known.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token is known.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn schedule(&mut self, token: String, at_ms: u64) {
        self.due.entry(at_ms / RESOLUTION_MS + 1).or_default().push(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> SimpleTokens {
        let mut tokens = SimpleTokens::new(300_000);
        tokens.enable();
        tokens
    }

    #[test]
    fn use_prolongs_a_token() {
        let mut tokens = tokens();
        tokens.assign("alice", "a.1".into(), 0);
        tokens.assign("bob", "b.2".into(), 0);
        assert_eq!(tokens.user_of("a.1", 299_000), Some("alice"));
        tokens.sweep(302_000);
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens.user_of("b.2", 302_000), None);
        assert_eq!(tokens.user_of("a.1", 598_000), Some("alice"));
        assert_eq!(tokens.user_of("a.1", 898_001), None, "300 seconds unused");
        tokens.sweep(900_000);
        assert!(tokens.is_empty() && tokens.due.is_empty());
    }

    #[test]
    fn a_token_ends_though_nobody_swept() {
        let mut tokens = tokens();
        tokens.assign("alice", "a.1".into(), 5);
        assert_eq!(tokens.user_of("a.1", 300_006), None);
        assert_eq!(tokens.user_of("x", 5), None);
    }

    #[test]
    fn a_user_that_changed_has_no_tokens() {
        let mut tokens = tokens();
        tokens.assign("alice", "a.1".into(), 0);
        tokens.assign("alice", "a.2".into(), 0);
        tokens.assign("bob", "b.3".into(), 0);
        tokens.invalidate_user("alice");
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens.user_of("b.3", 1), Some("bob"));
        tokens.sweep(400_000);
        assert!(tokens.is_empty() && tokens.due.is_empty());
    }

    #[test]
    fn there_are_none_while_authentication_is_off() {
        let mut tokens = SimpleTokens::new(1000);
        tokens.assign("alice", "a.1".into(), 0);
        assert!(tokens.is_empty());
        tokens.enable();
        tokens.assign("alice", "a.1".into(), 0);
        tokens.disable();
        tokens.enable();
        assert_eq!(tokens.user_of("a.1", 0), None);
    }

    /// With `--auth-token-ttl` beyond all reason.
    #[test]
    fn a_token_may_live_for_ever() {
        let mut tokens = SimpleTokens::new(u64::MAX);
        tokens.enable();
        tokens.assign("alice", "a.1".into(), 5);
        tokens.sweep(1_000_000);
        assert_eq!(tokens.user_of("a.1", 1_000_000), Some("alice"));
    }

    /// A token that is used all the time is looked at once a life, not once a use.
    #[test]
    fn a_busy_token_stands_in_one_place() {
        let mut tokens = tokens();
        tokens.assign("alice", "a.1".into(), 0);
        for now in (0..2_000_000).step_by(500) {
            assert_eq!(tokens.user_of("a.1", now), Some("alice"));
            tokens.sweep(now);
            assert_eq!(tokens.due.values().map(Vec::len).sum::<usize>(), 1);
        }
    }
}
