//! Makes room where connections, places or memory are short. Who gives way is decided in `places`.

use std::{sync::Arc, time::Instant};

use super::{Front, refuse};
use crate::http::{
    client::{Client, State},
    places::{self, Connection, Reader, Waiting},
    request::SERVICE_UNAVAILABLE,
};

impl Front {
    /// Passes requests to the loop as long as there are places. If there are none, a client of a
    /// network that has more of them gives way.
    pub(super) fn give_places(&mut self) {
        let mut waiting = self.clients.iter().filter(|client| client.is_waiting()).count();
        for index in 0..self.clients.len() {
            if !matches!(self.clients[index].state, State::Queued(_)) {
                continue;
            }
            if waiting >= self.connections.waiting() {
                let Some(other) = self.first_to_yield(index) else { continue };
                refuse(&mut self.clients[other], SERVICE_UNAVAILABLE, self.access.as_ref());
                waiting -= 1;
            }
            self.pass_on(index);
            waiting += 1;
        }
    }

    fn first_to_yield(&self, new: usize) -> Option<usize> {
        let waits = |client: &Client| Waiting {
            network: client.network,
            has_ended: client.has_ended,
            since: client.since,
        };
        let (indices, waiting): (Vec<usize>, Vec<Waiting>) = (0..)
            .zip(&self.clients)
            .filter(|(_, client)| client.is_waiting())
            .map(|(index, client)| (index, waits(client)))
            .unzip();
        places::first_to_yield(&waiting, &waits(&self.clients[new])).map(|first| indices[first])
    }

    /// Closes a connection to make room.
    pub(super) fn close_one(&mut self) {
        let now = Instant::now();
        let connections: Vec<Connection> = self
            .clients
            .iter()
            .map(|client| Connection {
                network: client.network,
                rank: client.rank(now),
                waits: client.is_unanswered(),
                since: client.since,
            })
            .collect();
        let Some(first) = places::first_to_close(&connections) else { return };
        let mut client = self.clients.swap_remove(first);
        if client.is_unanswered() {
            refuse(&mut client, SERVICE_UNAVAILABLE, self.access.as_ref());
        }
    }

    /// Ends clients that do not read their answers, if these take too much memory.
    pub(super) fn end_slow_readers(&mut self) {
        while let Some(slow) = self.first_to_lose() {
            self.clients[slow].state = State::Gone;
        }
    }

    fn first_to_lose(&self) -> Option<usize> {
        let reads = |client: &Client| {
            let body = client.body()?;
            let (network, since) = (client.network, client.since);
            Some(Reader { network, body: Arc::as_ptr(body).addr(), bytes: body.len(), since })
        };
        let (indices, readers): (Vec<usize>, Vec<Reader>) = (0..)
            .zip(&self.clients)
            .filter_map(|(index, client)| Some((index, reads(client)?)))
            .unzip();
        places::first_to_lose(&readers).map(|first| indices[first])
    }
}
