//! Who gives way where connections, or places for requests that wait, are short: first a client of
//! the network that has the most of them. So a client that takes many can keep out only clients of
//! its own network. And who gives way where answers that are not read take too much memory.

use std::{cmp::Reverse, net::IpAddr, time::Instant};

use super::limits::MAX_BODY_BYTES;

/// What decides whether a connection is closed to make room.
pub(super) struct Connection {
    pub network: IpAddr,
    /// How dearly it would be missed.
    pub rank: u8,
    /// Whether it waits for an answer.
    pub waits: bool,
    /// Since when it has been so.
    pub since: Instant,
}

/// What decides whether a waiting request gives way to another one.
pub(super) struct Waiting {
    pub network: IpAddr,
    /// Whether the client has closed its sending side, so that it may be gone.
    pub has_ended: bool,
    pub since: Instant,
}

/// A client that reads its answer.
pub(super) struct Reader {
    pub network: IpAddr,
    /// The address of the body, which clients share, in memory.
    pub body: usize,
    /// Its length.
    pub bytes: usize,
    pub since: Instant,
}

/// Which connection is closed: of the network with the most connections, the one that is missed
/// least, and of several the oldest, or the youngest of those that wait.
pub(super) fn first_to_close(connections: &[Connection]) -> Option<usize> {
    let counts = Counts::new(connections.iter().map(|connection| connection.network));
    let key = |index: &usize| {
        let Connection { network, rank, waits, since } = connections[*index];
        (Reverse(counts.of(network)), rank, waits.then_some(Reverse(since)), since)
    };
    (0..connections.len()).min_by_key(key)
}

/// Which request of the network with the most gives its place to a new one: one whose client has
/// closed its sending side, or any if that network has at least two more than that of the new one. Of
/// several, the youngest.
pub(super) fn first_to_yield(waiting: &[Waiting], new: &Waiting) -> Option<usize> {
    let counts = Counts::new(waiting.iter().map(|waiting| waiting.network));
    let key = |index: &usize| {
        let Waiting { network, has_ended, since } = waiting[*index];
        (counts.of(network), has_ended && !new.has_ended, since)
    };
    let first = (0..waiting.len()).max_by_key(key)?;
    let (count, may_be_gone, _) = key(&first);
    (may_be_gone || count > counts.of(new.network) + 1).then_some(first)
}

/// Which reader loses its connection, so that the bodies in memory stay few: of the network with
/// the most bodies the one that has read for the longest time, if other bodies take as much as is
/// allowed.
pub(super) fn first_to_lose(readers: &[Reader]) -> Option<usize> {
    let mut held: Vec<(IpAddr, usize)> = Vec::new();
    for &Reader { network, body, .. } in readers {
        if !held.contains(&(network, body)) {
            held.push((network, body));
        }
    }
    let counts = Counts::new(held.iter().map(|&(network, _)| network));
    let key = |index: &usize| {
        let Reader { network, since, .. } = readers[*index];
        (Reverse(counts.of(network)), since)
    };
    let first = (0..readers.len()).min_by_key(key)?;
    let mut bodies = vec![readers[first].body];
    let mut others = 0;
    for &Reader { body, bytes, .. } in readers {
        if !bodies.contains(&body) {
            bodies.push(body);
            others += bytes;
        }
    }
    (others >= MAX_BODY_BYTES).then_some(first)
}

/// How often each network occurs. Mostly there are few, and never more than connections.
struct Counts(Vec<(IpAddr, usize)>);

impl Counts {
    fn new(networks: impl Iterator<Item = IpAddr>) -> Counts {
        let mut counts: Vec<(IpAddr, usize)> = Vec::new();
        for network in networks {
            match counts.iter_mut().find(|(other, _)| *other == network) {
                Some((_, count)) => *count += 1,
                None => counts.push((network, 1)),
            }
        }
        Counts(counts)
    }

    fn of(&self, network: IpAddr) -> usize {
        self.0.iter().find(|(other, _)| *other == network).map_or(0, |&(_, count)| count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_network_with_the_most_connections_makes_room_however_short_ago_it_came() {
        let start = Instant::now();
        let connection = |last: u8, rank: u8, second: u64| Connection {
            network: address(last),
            rank,
            waits: rank == 6,
            since: start + Duration::from_secs(second),
        };
        let few = [connection(1, 0, 0), connection(2, 2, 5), connection(2, 2, 4)];
        assert_eq!(first_to_close(&few), Some(2), "the oldest of the larger network");
        let ranks = [connection(2, 5, 0), connection(2, 1, 9), connection(1, 0, 0)];
        assert_eq!(first_to_close(&ranks), Some(1), "the one that is missed least");
        let equal = [connection(1, 2, 1), connection(2, 1, 7), connection(3, 1, 6)];
        assert_eq!(first_to_close(&equal), Some(2), "among equals, rank and age decide");
        let waiting = [connection(1, 6, 1), connection(1, 6, 3), connection(1, 6, 2)];
        assert_eq!(first_to_close(&waiting), Some(1), "the youngest of those that wait");
        assert_eq!(first_to_close(&[]), None);
    }

    #[test]
    fn a_place_goes_from_the_network_with_the_most_to_one_with_less() {
        let start = Instant::now();
        let waiting = |last: u8, has_ended: bool, second: u64| Waiting {
            network: address(last),
            has_ended,
            since: start + Duration::from_secs(second),
        };
        let taken = [waiting(1, false, 1), waiting(1, false, 3), waiting(1, false, 2)];
        assert_eq!(first_to_yield(&taken, &waiting(2, false, 9)), Some(1), "the youngest");
        assert_eq!(first_to_yield(&taken, &waiting(1, false, 9)), None, "not to its own network");
        let shared = [waiting(1, false, 1), waiting(1, false, 2), waiting(2, false, 3)];
        assert_eq!(first_to_yield(&shared, &waiting(2, false, 9)), None, "only to one with less");
        let ended = [waiting(1, false, 3), waiting(1, true, 1), waiting(2, true, 0)];
        assert_eq!(first_to_yield(&ended, &waiting(1, false, 9)), Some(1), "it may be gone");
        assert_eq!(first_to_yield(&ended, &waiting(1, true, 9)), None, "so may the new one");
        // Otherwise one network could take all the places of another.
        let few = [waiting(1, false, 1), waiting(1, false, 2), waiting(2, true, 0)];
        assert_eq!(first_to_yield(&few, &waiting(1, false, 9)), None, "only of the most");
        assert_eq!(first_to_yield(&few, &waiting(3, false, 9)), Some(1), "only of the most");
    }

    #[test]
    fn a_reader_of_the_network_with_the_most_bodies_goes_if_they_take_all_memory() {
        let start = Instant::now();
        let reader = |last: u8, body: usize, size: usize, second: u64| Reader {
            network: address(last),
            body,
            bytes: size * MAX_BODY_BYTES / 2,
            since: start + Duration::from_secs(second),
        };
        let few = [reader(1, 1, 1, 4), reader(1, 2, 1, 3), reader(1, 2, 1, 2)];
        assert_eq!(first_to_lose(&few), None, "many read the same body");
        let many = [reader(1, 1, 1, 4), reader(1, 2, 1, 2), reader(1, 3, 1, 3)];
        assert_eq!(first_to_lose(&many), Some(1), "the slowest");
        let two = [reader(2, 1, 1, 1), reader(2, 1, 1, 2), reader(1, 2, 1, 3), reader(1, 3, 1, 4)];
        assert_eq!(first_to_lose(&two), Some(2), "of the network with the most bodies");
        assert_eq!(first_to_lose(&[reader(1, 1, 3, 0)]), None, "one body may be large");
    }
}
