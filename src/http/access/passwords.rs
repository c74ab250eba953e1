//! Passwords of HTTP's basic authentication (RFC 7617), against bcrypt hashes. Each takes 50 ms or
//! more, so a password that was right is remembered, and others are checked one at a time. The time
//! that this takes does not reveal whether there is such a user.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, OnceLock},
};

use anyhow::{Result, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    hmac::{self, HMAC_SHA256, Key, Tag},
    rand::SystemRandom,
};

use crate::{
    http::{
        limits::{MAX_CHECKS, MAX_CHECKS_OF_CLIENT},
        request::{Refusal, SERVICE_UNAVAILABLE, UNAUTHORIZED},
    },
    lock::locked,
};

/// The users of the file. If there are none, no password is needed.
pub(super) struct Passwords {
    users: BTreeMap<String, User>,
    /// Only for these users, so that the tags are of no use elsewhere.
    key: Key,
    /// Held while a password is checked.
    turn: Mutex<()>,
    /// The clients whose passwords are being checked or wait for it.
    waiting: Mutex<Vec<IpAddr>>,
    /// Chooses the user whose hash stands in for that of an unknown user.
    stand_in: RandomState,
}

struct User {
    hash: String,
    /// The tag of the password that was right.
    right: OnceLock<Tag>,
}

impl Passwords {
    /// # Errors
    /// A hash is not one of bcrypt, or the system has no random numbers.
    pub(super) fn new(users: BTreeMap<String, String>) -> Result<Passwords> {
        let user = |(name, hash): (String, String)| {
            let cost = hash.parse().map_or(0, |parts: bcrypt::HashParts| parts.get_cost());
            ensure!(
                (4..=31).contains(&cost),
                "basic_auth_users.{name}: expected a bcrypt hash, as htpasswd -nBC 10 prints it"
            );
            Ok((name, User { hash, right: OnceLock::new() }))
        };
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        Ok(Passwords {
            users: users.into_iter().map(user).collect::<Result<_>>()?,
            key: key.map_err(|_| anyhow!("the system has no random numbers"))?,
            turn: Mutex::default(),
            waiting: Mutex::default(),
            stand_in: RandomState::new(),
        })
    }

    /// Checks the value of an `Authorization` field.
    ///
    /// # Errors
    /// The user is unknown, the password wrong, or too many wait already.
    pub(super) fn check(&self, authorization: &str, client: IpAddr) -> Result<(), Refusal> {
        if self.users.is_empty() {
            return Ok(());
        }
        let (name, password) = credentials(authorization).ok_or(UNAUTHORIZED)?;
        let known = self.users.get(&name);
        let number = self.stand_in.hash_one(&name) % self.users.len() as u64;
        let user = known.or(self.users.values().nth(number as usize)).ok_or(UNAUTHORIZED)?;
        let was_right = || {
            let tag = user.right.get().filter(|_| known.is_some());
            tag.is_some_and(|tag| hmac::verify(&self.key, &password, tag.as_ref()).is_ok())
        };
        if was_right() {
            return Ok(());
        }
        if !self.enter(client) {
            return Err(SERVICE_UNAVAILABLE);
        }
        let is_right = {
            let _turn = locked(&self.turn);
            // Another connection may have checked the same password meanwhile.
            was_right() || bcrypt::verify(&password, &user.hash).unwrap_or(false)
        };
        self.leave(client);
        if !(is_right && known.is_some()) {
            return Err(UNAUTHORIZED);
        }
        user.right.get_or_init(|| hmac::sign(&self.key, &password));
        Ok(())
    }

    /// Enters a client whose password is to be checked, if there is room. Each client gets so
    /// little that one which guesses does not keep the others out.
    fn enter(&self, client: IpAddr) -> bool {
        let client = network(client);
        let mut waiting = locked(&self.waiting);
        let own = waiting.iter().filter(|&&other| other == client).count();
        let has_room = waiting.len() < MAX_CHECKS && own < MAX_CHECKS_OF_CLIENT;
        waiting.extend(has_room.then_some(client));
        has_room
    }

    fn leave(&self, client: IpAddr) {
        let mut waiting = locked(&self.waiting);
        let place = waiting.iter().position(|&other| other == network(client));
        place.map(|place| waiting.swap_remove(place));
    }
}

/// The first 64 bits of an IPv6 address, because a client can choose the others.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
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

    fn v6(network: u16, last: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, last])
    }

    #[test]
    fn a_few_of_each_client_are_checked_or_wait() -> Result<()> {
        let passwords = Passwords::new(BTreeMap::new())?;
        let v4 = |last: u8| IpAddr::from([192, 0, 2, last]);
        for number in 0..MAX_CHECKS_OF_CLIENT as u16 {
            assert!(passwords.enter(v4(1)) && passwords.enter(v6(0, number)));
        }
        assert!(!passwords.enter(v4(1)) && !passwords.enter(v6(0, 999)));
        assert!(passwords.enter(v4(2)) && passwords.enter(v6(1, 0)));
        for left in [v4(1), v6(0, 999)] {
            passwords.leave(left);
            assert!(passwords.enter(left) && !passwords.enter(left), "{left}");
        }
        let more = (10..=u8::MAX).filter(|&last| passwords.enter(v4(last)));
        assert_eq!(more.count(), MAX_CHECKS - 2 * MAX_CHECKS_OF_CLIENT - 2);
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
