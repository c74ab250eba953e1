//! Requests whose passwords wait to be checked. Clients take turns, so that one which guesses does
//! not keep the others waiting.

use std::{collections::VecDeque, net::IpAddr};

use crate::http::limits::{MAX_CHECKS, MAX_CHECKS_OF_CLIENT};

/// Numbers of requests.
#[derive(Default)]
pub(crate) struct Queue {
    /// The clients that have requests here, in the order of their turns. Each has at least one.
    clients: VecDeque<(IpAddr, VecDeque<u64>)>,
}

impl Queue {
    /// Adds a request of this client, which is a network, at the end of its own. Returns whether
    /// there was room.
    pub(crate) fn enter(&mut self, client: IpAddr, request: u64) -> bool {
        let waiting: usize = self.clients.iter().map(|(_, own)| own.len()).sum();
        if waiting >= MAX_CHECKS {
            return false;
        }
        match self.clients.iter_mut().find(|(other, _)| *other == client) {
            Some((_, own)) if own.len() >= MAX_CHECKS_OF_CLIENT => return false,
            Some((_, own)) => own.push_back(request),
            None => self.clients.push_back((client, VecDeque::from([request]))),
        }
        true
    }

    /// Takes out the first request of the client whose turn it is.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let (client, mut own) = self.clients.pop_front()?;
        let request = own.pop_front();
        if !own.is_empty() {
            self.clients.push_back((client, own));
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::network::network;

    fn enter(queue: &mut Queue, address: IpAddr, request: u64) -> bool {
        queue.enter(network(address), request)
    }

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn v6(network: u16, last: u16) -> IpAddr {
        [0x2001, 0xdb8, 0, network, 0, 0, 0, last].into()
    }

    #[test]
    fn clients_take_turns_and_each_is_served_in_order() {
        let mut queue = Queue::default();
        for (address, request) in
            [(v4(1), 1), (v4(1), 2), (v4(1), 3), (v4(2), 4), (v6(0, 1), 5), (v6(0, 2), 6)]
        {
            assert!(enter(&mut queue, address, request));
        }
        assert_eq!([queue.next(), queue.next()], [Some(1), Some(4)]);
        // Who has had a turn and comes again waits until all others have had one.
        assert!(enter(&mut queue, v4(2), 7) && enter(&mut queue, v4(3), 8));
        let rest: Vec<u64> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(rest, [5, 2, 7, 8, 6, 3]);
    }

    #[test]
    fn a_few_of_each_client_wait() {
        let mut queue = Queue::default();
        for number in 0..MAX_CHECKS_OF_CLIENT as u16 {
            assert!(enter(&mut queue, v4(1), 1) && enter(&mut queue, v6(0, number), 6));
        }
        assert!(!enter(&mut queue, v4(1), 1) && !enter(&mut queue, v6(0, 999), 6));
        assert!(enter(&mut queue, v4(2), 2) && enter(&mut queue, v6(1, 0), 7));
        assert_eq!(queue.next(), Some(1));
        assert!(enter(&mut queue, v4(1), 1) && !enter(&mut queue, v4(1), 1));
        let more = (10..=u8::MAX).filter(|&last| enter(&mut queue, v4(last), 0));
        assert_eq!(more.count(), MAX_CHECKS - 2 * MAX_CHECKS_OF_CLIENT - 2);
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), MAX_CHECKS);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn the_addresses_that_a_local_user_can_choose_are_one_client() {
        let mut queue = Queue::default();
        let entered = (1..=30).filter(|&last| enter(&mut queue, [127, 0, 0, 1 + last].into(), 0));
        assert_eq!(entered.count(), MAX_CHECKS_OF_CLIENT);
        assert!(!enter(&mut queue, [127, 9, 9, 9].into(), 0));
        assert!(
            enter(&mut queue, [127, 0, 0, 1].into(), 1)
                && enter(&mut queue, [128, 0, 0, 1].into(), 2)
        );
        assert_eq!([queue.next(), queue.next(), queue.next()], [Some(0), Some(1), Some(2)]);
    }
}
