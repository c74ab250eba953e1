//! Passwords of HTTP's basic authentication, held against bcrypt hashes. A hash takes 50 ms or more, so a password that was right is
//! remembered, and others are checked one at a time. How long that takes does not tell whether there is such a user.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac::{self, HMAC_SHA256, Key, Tag},
    rand::SystemRandom,
};

use crate::{
    http::{
        limits::MAX_CHECKS,
        request::{Refusal, SERVICE_UNAVAILABLE, UNAUTHORIZED},
    },
    lock::locked,
};

/// Users with their hashes. If there are none, no password is needed.
pub(super) type Users = BTreeMap<String, String>;

pub(super) struct Passwords {
    /// Of this process alone, so that what is remembered is of no use elsewhere.
    key: Key,
    /// For each user what was right: its tag, made of user, hash and password.
    right: Mutex<HashMap<String, Tag>>,
    /// Held by the one that is checked.
    turn: Mutex<()>,
    /// Those that are checked or wait for that.
    checks: AtomicUsize,
    /// Chooses by whose hash an unknown user is checked.
    stand_in: RandomState,
}

impl Passwords {
    pub(super) fn new() -> Result<Passwords> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        Ok(Passwords {
            key: key.map_err(|_| anyhow!("the system has no random numbers"))?,
            right: Mutex::default(),
            turn: Mutex::default(),
            checks: AtomicUsize::new(0),
            stand_in: RandomState::new(),
        })
    }

    /// Checks the value of an `Authorization` field.
    ///
    /// # Errors
    /// The user is unknown, the password wrong, or too many wait already.
    pub(super) fn check(&self, users: &Users, authorization: &str) -> Result<(), Refusal> {
        if users.is_empty() {
            return Ok(());
        }
        let (user, password) = credentials(authorization).ok_or(UNAUTHORIZED)?;
        let number = self.stand_in.hash_one(&user) % users.len() as u64;
        let stand_in = users.values().nth(number as usize).ok_or(UNAUTHORIZED)?;
        let (hash, known) = users.get(&user).map_or((stand_in, false), |hash| (hash, true));
        let whole =
            [user.len().to_string().as_bytes(), b":", user.as_bytes(), hash.as_bytes(), &password]
                .concat();
        let was_right = || {
            locked(&self.right)
                .get(&user)
                .is_some_and(|tag| hmac::verify(&self.key, &whole, tag.as_ref()).is_ok())
        };
        if was_right() {
            return Ok(());
        }
        let before = self.checks.fetch_add(1, Ordering::Relaxed);
        let checked = match before < MAX_CHECKS {
            true => {
                let _turn = locked(&self.turn);
                // Another connection may have had the same checked meanwhile.
                Ok(was_right() || (bcrypt::verify(&password, hash).unwrap_or(false) && known))
            }
            false => Err(SERVICE_UNAVAILABLE),
        };
        self.checks.fetch_sub(1, Ordering::Relaxed);
        if !checked? {
            return Err(UNAUTHORIZED);
        }
        locked(&self.right).insert(user, hmac::sign(&self.key, &whole));
        Ok(())
    }
}

/// User and password of `Basic dXNlcjpwYXNz` (RFC 7617).
fn credentials(authorization: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let user = String::from_utf8(decoded.get(..colon)?.to_vec()).ok()?;
    scheme.eq_ignore_ascii_case("Basic").then(|| (user, decoded[colon + 1..].to_vec()))
}
