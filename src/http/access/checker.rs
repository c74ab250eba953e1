//! Checks passwords that are not remembered, one at a time, in a thread of its own, because each
//! check takes 50 ms or more.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
};

use anyhow::Result;

use super::{passwords::Passwords, queue::Queue};
use crate::{
    http::requests::{Message, ToFront},
    threads,
};

/// The clients whose passwords wait to be checked, and the thread that checks them.
pub(super) struct Checker {
    checks: Sender<(u64, String, Arc<Passwords>)>,
    waiting: Queue,
    is_checking: bool,
}

impl Checker {
    /// Starts the thread, which sends its results to the front.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(to_front: ToFront) -> Result<Checker> {
        let (checks, received) = mpsc::channel::<(u64, String, Arc<Passwords>)>();
        threads::start(move || {
            for (client, authorization, passwords) in received {
                let result = passwords.check(&authorization);
                to_front.send(Message::Checked(client, result));
            }
        })?;
        Ok(Checker { checks, waiting: Queue::default(), is_checking: false })
    }

    /// Adds a client of this network. Returns whether there was room.
    pub(super) fn enter(&mut self, network: IpAddr, client: u64) -> bool {
        self.waiting.enter(network, client)
    }

    /// A check has ended.
    pub(super) fn ended(&mut self) {
        self.is_checking = false;
    }

    /// Starts the next check, unless one is under way. `authorization_of` returns the field of a
    /// client that still waits.
    pub(super) fn start_next(
        &mut self,
        passwords: &Arc<Passwords>,
        authorization_of: impl Fn(u64) -> Option<String>,
    ) {
        while !self.is_checking {
            let Some(client) = self.waiting.next() else { return };
            if let Some(authorization) = authorization_of(client) {
                let check = (client, authorization, Arc::clone(passwords));
                self.is_checking = self.checks.send(check).is_ok();
            }
        }
    }
}
