//! From where a client comes, as far as fairness between clients is concerned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a client, without what the client can choose: the last 64 bits of an IPv6
/// address, and all but the first 8 of 127.0.0.0/8, from whose 16 million addresses a user of this
/// host can send. 127.0.0.1 is apart, because programs send from it if they do not choose.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(address) if address.is_loopback() && address != Ipv4Addr::LOCALHOST => {
            [127, 0, 0, 0].into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_what_it_cannot_choose_of_its_address() {
        let of = |text: &str| text.parse().map(|address| network(address).to_string());
        assert_eq!(of("192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(of("::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6").as_deref(), Ok("2001:db8:1:2::"));
        for (client, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.2", "127.0.0.0"),
            ("127.9.9.9", "127.0.0.0"),
            ("::ffff:127.0.1.1", "127.0.0.0"),
            ("128.0.0.1", "128.0.0.1"),
        ] {
            assert_eq!(of(client).as_deref(), Ok(expected));
        }
    }
}
