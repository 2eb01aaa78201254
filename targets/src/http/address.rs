//! Networks that no node may be in: a URL must not lead our client to a machine's link-local or metadata service.
//!
//! Names are checked by the resolver that the client connects with, so what was checked is what is connected to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Link-local, metadata services (several clouds), unspecified, multicast, broadcast. Private and loopback addresses are fine: nodes live there.
const DEFAULT: &[&str] = &[
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0/8",
    "::",
    "224.0.0.0/4",
    "ff00::/8",
    "255.255.255.255",
];

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// The text is no network such as `169.254.0.0/16`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no network; write an address, or an address and a length such as 169.254.0.0/16")]
pub struct NetworkInvalid(pub String);

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || NetworkInvalid(text.to_owned());
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().map_err(|_| invalid())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| invalid())?;
        if bits > most { Err(invalid()) } else { Ok(Self { base, bits }) }
    }
}

/// The forbidden networks. The default forbids link-local, metadata, unspecified, multicast and broadcast addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockList(Vec<Network>);

impl Default for BlockList {
    fn default() -> Self {
        Self(DEFAULT.iter().filter_map(|text| text.parse().ok()).collect())
    }
}

impl BlockList {
    /// Exactly these networks, instead of the default ones.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Reads a list of networks.
    ///
    /// # Errors
    /// [`NetworkInvalid`] with the first text that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworkInvalid> {
        texts.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether no node may be at this address, in whichever form it is written.
    pub fn forbids(&self, address: IpAddr) -> bool {
        let inside = match address {
            IpAddr::V4(_) => Vec::new(),
            IpAddr::V6(v6) => embedded_v4(v6),
        };
        let forms = inside.into_iter().map(IpAddr::V4).chain([address]);
        forms.into_iter().any(|form| self.0.iter().any(|network| network.contains(form)))
    }
}

/// The IPv4 addresses that an IPv6 address may stand for: mapped, compatible, translated (SIIT, RFC 2765), NAT64 (64:ff9b::/96, and the networks' own
/// prefixes of RFC 8215) or 6to4 (2002::/16).
fn embedded_v4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let s = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => vec![of(high, low)],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![of(high, low)],
        // 64:ff9b:1::/48: a network chooses how long its prefix is, and that says where the address lies (RFC 6052, 2.2).
        [0x64, 0xff9b, 1, a, b, c, d, e] => {
            let forms = [(a, b << 8 | c >> 8), (a << 8 | b & 0xff, c), (b << 8 | c >> 8, c << 8 | d >> 8), (d, e)];
            // What begins with 0 in one form is read wrongly: it is another form.
            forms.into_iter().filter(|(high, _)| *high > 0xff).map(|(high, low)| of(high, low)).collect()
        }
        // ::1 and its like are no IPv4 address.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0xff => vec![of(high, low)],
        [0x2002, high, low, ..] => vec![of(high, low)],
        _ => Vec::new(),
    }
}

/// The address, or every address of the host name, is in a forbidden network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's address is in a network that Slipway must not connect to")]
pub struct AddressForbidden;

/// Resolves names to the addresses that are not forbidden. The connection is made to what it answers, so a second lookup can't slip in another address.
pub(super) struct CheckedResolver(pub(super) Arc<BlockList>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let blocked = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let good: Vec<_> = found.into_iter().filter(|address| !blocked.forbids(address.ip())).collect();
            if any && good.is_empty() {
                return Err(AddressForbidden.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbids_every_spelling_of_what_it_forbids() {
        let list = BlockList::default();
        assert_eq!(list.0.len(), DEFAULT.len());
        let forbidden = [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
            "::ffff:0:169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:1:a9:fea9:fe00:0",
        ];
        for address in forbidden {
            assert!(list.forbids(address.parse().unwrap()), "{address}");
        }
        let fine = [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "8.8.8.8",
            "2001:db8::1",
            "fec0::1",
        ];
        for address in fine {
            assert!(!list.forbids(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn reads_networks() {
        for bad in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/-1", "1.2.3/8", "/8"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkInvalid(bad.to_owned())));
        }
        let all = BlockList::parse(["0.0.0.0/0", "::/0"]).unwrap();
        assert!(all.forbids("1.2.3.4".parse().unwrap()) && all.forbids("2001:db8::1".parse().unwrap()));
        let none = BlockList::new(Vec::new());
        assert!(!none.forbids("169.254.169.254".parse().unwrap()));
    }

    #[tokio::test]
    async fn names_are_checked_after_dns() {
        let blocked = Arc::new(BlockList::parse(["127.0.0.0/8", "::1"]).unwrap());
        let error = CheckedResolver(blocked).resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.is::<AddressForbidden>(), "{error}");
        let free = CheckedResolver(Arc::new(BlockList::default())).resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(free.count() > 0);
    }
}
