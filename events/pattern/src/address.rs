//! Texts that are IP addresses, and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address the way EventBridge does: zeros may lead in the parts of a version 4 address,
/// dots may not stand in a version 6 one, and a version 4 address in the clothes of version 6
/// (`::ffff:a00:1`) is a version 4 address.
pub(crate) fn read(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let plain = text.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit());
        let address: Ipv6Addr = if plain { text.parse().ok()? } else { return None };
        return Some(address.to_canonical());
    }
    let mut parts = text.split('.').map(read_part);
    let octets = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

fn read_part(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// From an address to the last one of its network.
///
/// The address is not rounded down to the first of the network, just as in EventBridge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    text: Box<str>,
    first: IpAddr,
    last: IpAddr,
}

impl Network {
    /// Reads `address/bits`; `None` when it is not that, or when the network is a single address.
    pub(crate) fn new(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/')?;
        let first = read(address)?;
        let bits = bits.bytes().all(|byte| byte.is_ascii_digit()).then_some(bits)?;
        let bits: u32 = bits.parse().ok()?;
        let last = match first {
            IpAddr::V4(first) if bits < 32 => {
                IpAddr::from(Ipv4Addr::from_bits(first.to_bits() | u32::MAX.unbounded_shr(bits)))
            }
            IpAddr::V6(first) if bits < 128 => {
                IpAddr::from(Ipv6Addr::from_bits(first.to_bits() | u128::MAX.unbounded_shr(bits)))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Network { text: text.into(), first, last })
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        // The order of addresses puts version 4 before version 6, so the two never mix.
        read(text).is_some_and(|address| self.first <= address && address <= self.last)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_leniently_but_not_too_much() {
        assert_eq!(read("10.0.0.01"), read("10.0.0.1"));
        assert_eq!(read("::ffff:a00:1"), read("10.0.0.1"));
        for text in ["10.0.0", "10.0.0.0.0", "10.0.0.256", "10.0.0.", "+1.0.0.0", "::1.2.3.4", ":"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_begins_at_the_address_written() {
        let network = Network::new("10.1.2.3/24").unwrap();
        assert!(!network.contains("10.1.2.2") && network.contains("10.1.2.3"));
        assert!(network.contains("10.1.2.255") && !network.contains("10.1.3.0"));
        assert!(Network::new("0.0.0.0/0").unwrap().contains("255.255.255.255"));
        assert!(!Network::new("0.0.0.0/0").unwrap().contains("ff::"));
        assert!(!Network::new("::/0").unwrap().contains("10.0.0.1"));
        assert!(Network::new("fe80::/127").unwrap().contains("fe80::1"));
        for text in
            ["10.0.0.0/32", "::/128", "10.0.0.0/", "10.0.0.0", "/8", "10.0.0.0/8/8", "::/+1"]
        {
            assert_eq!(Network::new(text), None, "{text}");
        }
    }
}
