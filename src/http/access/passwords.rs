//! Passwords of HTTP's basic authentication (RFC 7617), against bcrypt hashes. Each takes 50 ms or
//! more, so a password that was right is remembered. The time that a check takes does not reveal
//! whether there is such a user.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

use anyhow::{Result, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac::{self, HMAC_SHA256, Key, Tag},
    rand::SystemRandom,
};

use crate::http::request::{Refusal, UNAUTHORIZED};

/// The users of the file. If there are none, no password is needed.
pub(super) struct Passwords {
    users: BTreeMap<String, Arc<User>>,
    /// Only this process has it, so that the tags are of no use elsewhere.
    key: Key,
    /// Chooses the user whose hash stands in for that of an unknown user.
    stand_in: RandomState,
}

struct User {
    hash: String,
    /// The tag of the password that was right.
    right: OnceLock<Tag>,
}

impl Passwords {
    /// Without users.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Passwords> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| anyhow!("the system has no random numbers"))?;
        Ok(Passwords { users: BTreeMap::new(), key, stand_in: RandomState::new() })
    }

    /// Those of these users, with their hashes, instead. A password stays remembered if its user had
    /// the same hash before.
    ///
    /// # Errors
    /// A hash is not one of bcrypt.
    pub(super) fn with_users(&self, users: &BTreeMap<String, String>) -> Result<Passwords> {
        let user = |(name, hash): (&String, &String)| {
            let cost = hash.parse().map_or(0, |parts: bcrypt::HashParts| parts.get_cost());
            ensure!(
                (4..=31).contains(&cost),
                "basic_auth_users.{name}: expected a bcrypt hash, as htpasswd -nBC 10 prints it"
            );
            let before = self.users.get(name).filter(|before| before.hash == *hash);
            let new = || Arc::new(User { hash: hash.clone(), right: OnceLock::new() });
            Ok((name.clone(), before.map_or_else(new, Arc::clone)))
        };
        let users = users.iter().map(user).collect::<Result<_>>()?;
        Ok(Passwords { users, key: self.key.clone(), stand_in: self.stand_in.clone() })
    }

    /// Admits or refuses a request at once by its `Authorization` field; `None` if its password has
    /// to be checked.
    pub(super) fn known(&self, authorization: &str) -> Option<Result<(), Refusal>> {
        if self.users.is_empty() {
            return Some(Ok(()));
        }
        let Some((name, password)) = credentials(authorization) else {
            return Some(Err(UNAUTHORIZED));
        };
        let user = self.users.get(&name)?;
        self.was_right(user, &password).then_some(Ok(()))
    }

    /// Checks the password of an `Authorization` field, which takes long.
    ///
    /// # Errors
    /// The user is unknown or the password wrong.
    pub(super) fn check(&self, authorization: &str) -> Result<(), Refusal> {
        // Another request may have brought the same password meanwhile.
        if let Some(known) = self.known(authorization) {
            return known;
        }
        let (name, password) = credentials(authorization).ok_or(UNAUTHORIZED)?;
        let known = self.users.get(&name);
        let number = self.stand_in.hash_one(&name) % self.users.len() as u64;
        let user = known.or(self.users.values().nth(number as usize)).ok_or(UNAUTHORIZED)?;
        let is_right = bcrypt::verify(&password, &user.hash).unwrap_or(false);
        if !(is_right && known.is_some()) {
            return Err(UNAUTHORIZED);
        }
        user.right.get_or_init(|| hmac::sign(&self.key, &password));
        Ok(())
    }

    fn was_right(&self, user: &User, password: &[u8]) -> bool {
        user.right.get().is_some_and(|tag| hmac::verify(&self.key, password, tag.as_ref()).is_ok())
    }
}

/// User and password of `Basic dXNlcjpwYXNz`.
fn credentials(authorization: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let user = String::from_utf8(decoded.get(..colon)?.to_vec()).ok()?;
    scheme.eq_ignore_ascii_case("Basic").then(|| (user, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "Basic YWxpY2U6b3BlbiBzZXNhbWU=";
    const WRONG: &str = "Basic YWxpY2U6bm90aGluZw==";

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap_or_default()
    }

    fn passwords(before: &Passwords, name: &str, hash: &str) -> Result<Passwords> {
        before.with_users(&BTreeMap::from([(name.to_owned(), hash.to_owned())]))
    }

    fn is_remembered(passwords: &Passwords) -> bool {
        matches!(passwords.known(RIGHT), Some(Ok(())))
    }

    #[test]
    fn a_password_stays_remembered_while_its_hash_is_the_same() -> Result<()> {
        let [hash, again, other] = ["open sesame", "open sesame", "another"].map(hash);
        let first = passwords(&Passwords::new()?, "alice", &hash)?;
        // Read again while the first password is being checked.
        let second = passwords(&first, "alice", &hash)?;
        assert!(!is_remembered(&first) && first.check(RIGHT).is_ok());
        assert!(first.check(WRONG).is_err() && first.known(WRONG).is_none());
        assert!(is_remembered(&first) && is_remembered(&second));
        for (name, hash) in [("alice", &again), ("alice", &other), ("bob", &hash)] {
            assert!(!is_remembered(&passwords(&second, name, hash)?), "{name}");
        }
        assert!(passwords(&second, "alice", &other)?.check(RIGHT).is_err());
        assert!(passwords(&second, "bob", &hash)?.check(RIGHT).is_err());
        Ok(())
    }

    #[test]
    fn what_needs_no_check_is_known() -> Result<()> {
        let none = Passwords::new()?;
        assert!(matches!(none.known(""), Some(Ok(()))) && none.check("").is_ok());
        let some = passwords(&none, "alice", &hash("open sesame"))?;
        assert!(matches!(some.known(""), Some(Err(_))) && some.check("").is_err());
        assert!(some.known(RIGHT).is_none() && some.known("Basic Ym9iOmI=").is_none());
        Ok(())
    }

    #[test]
    fn credentials_are_read_as_rfc_7617_says() {
        let read = |field: &str| credentials(field);
        let expected = Some(("Aladdin".to_owned(), b"open sesame".to_vec()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), expected);
        assert_eq!(read("bASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), expected);
        // The password may contain colons.
        assert_eq!(read("Basic YTpiOmM="), Some(("a".to_owned(), b"b:c".to_vec())));
        assert_eq!(read("Basic Og=="), Some((String::new(), Vec::new())));
        for bad in
            ["", "Basic", "Basic ", "Basic YQ==", "Basic !", "Bearer YTpi", "YTpi", "Basic /zpi"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
