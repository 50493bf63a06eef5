//! Whether a user may do something.
//!
//! The order of refusals is etcd's. For keys: nobody named, an old revision, then the rights. For
//! administration: nobody named, an unknown user, then the role; the revision does not count.

use api::{error::Error as Refusal, range::KeyRange};

use crate::{AuthStore, Error, ROOT_USER, User};

/// Who asks, and the auth revision at which that was found out.
///
/// Revision 0 stands for nobody: a request without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The auth revision that the credentials are of.
    pub revision: u64,
}

impl Identity {
    /// A request without credentials.
    pub fn nobody() -> Identity {
        Identity::default()
    }
}

impl AuthStore {
    /// The user that members act as themselves: for what they propose, like revoking what expired.
    pub fn root(&self) -> Identity {
        Identity { user: ROOT_USER.to_owned(), revision: self.revision }
    }

    /// Whether all keys of a range may be read.
    pub fn check_read(&self, who: &Identity, range: &KeyRange) -> Result<(), Error> {
        self.check_keys(who, |user| user.may_read(range))
    }

    /// Whether a key may be read.
    pub fn check_read_key(&self, who: &Identity, key: &[u8]) -> Result<(), Error> {
        self.check_keys(who, |user| user.may_read_key(key))
    }

    /// Whether all keys of a range may be written, which includes deleting them.
    pub fn check_write(&self, who: &Identity, range: &KeyRange) -> Result<(), Error> {
        self.check_keys(who, |user| user.may_write(range))
    }

    /// Whether a key may be written.
    pub fn check_write_key(&self, who: &Identity, key: &[u8]) -> Result<(), Error> {
        self.check_keys(who, |user| user.may_write_key(key))
    }

    /// Whether a user may administer: users, roles, members, the store as a whole.
    pub fn check_admin(&self, who: &Identity) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.user.is_empty() {
            return Err(Refusal::UserEmpty.into());
        }
        match self.user(&who.user) {
            None => Err(Refusal::UserNotFound.into()),
            Some(user) if user.is_root() => Ok(()),
            Some(_) => Err(Refusal::PermissionDenied.into()),
        }
    }

    /// Whether a user may see what is stored of a user: itself, or any as root.
    pub fn check_see_user(&self, who: &Identity, name: &str) -> Result<(), Error> {
        self.check_admin(who)
            .or_else(|refusal| if who.user == name { Ok(()) } else { Err(refusal) })
    }

    /// Whether a user may see a role: one of its own, or any as root.
    pub fn check_see_role(&self, who: &Identity, name: &str) -> Result<(), Error> {
        let holds = || self.user(&who.user).is_some_and(|user| has_role(user, name));
        self.check_admin(who).or_else(|refusal| if holds() { Ok(()) } else { Err(refusal) })
    }

    /// Whether what was found out at `who.revision` still holds. Nobody's request never ages: where
    /// it is let through at all, authentication is off.
    pub fn check_current(&self, who: &Identity) -> Result<(), Error> {
        if who.revision != 0 && who.revision != self.revision {
            return Err(Refusal::AuthOldRevision.into());
        }
        Ok(())
    }

    fn check_keys(&self, who: &Identity, may: impl FnOnce(&User) -> bool) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.revision == 0 {
            return Err(Refusal::UserEmpty.into());
        }
        if who.revision < self.revision && !mutants::is_on(mutants::Mutant::AuthRevisionIgnored) {
            return Err(Refusal::AuthOldRevision.into());
        }
        if self.user(&who.user).is_some_and(may) {
            return Ok(());
        }
        Err(Refusal::PermissionDenied.into())
    }
}

fn has_role(user: &User, name: &str) -> bool {
    user.roles().iter().any(|role| role == name)
}
