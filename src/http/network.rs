//! From where a client comes, as far as fairness between clients is concerned.

use std::net::{IpAddr, Ipv6Addr};

/// The address of an IPv4 client, and the first 64 bits of an IPv6 address, because a client can
/// choose the others.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_is_itself_and_an_ipv6_client_its_64_bits() {
        let of = |text: &str| text.parse().map(|address| network(address).to_string());
        assert_eq!(of("192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(of("::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6").as_deref(), Ok("2001:db8:1:2::"));
    }
}
