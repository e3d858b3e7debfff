//! `..._ADDRESS_WITHOUT_PORT`, whole or masked to a prefix in CIDR notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Argument, Facts, plain::upstream_remote_address, put};
use crate::address::Address;

#[derive(Debug)]
pub(in crate::format) struct WithoutPort {
    of: for<'a> fn(&Facts<'a>) -> Option<&'a Address>,
    /// Bits that are kept.
    prefix: Option<u8>,
}

const IPV4_BITS: u8 = 32;
const IPV6_BITS: u8 = 128;

impl WithoutPort {
    pub(super) fn parse(name: &str, argument: Argument<'_>) -> Option<Result<Self, String>> {
        let of: for<'a> fn(&Facts<'a>) -> Option<&'a Address> = match name.strip_suffix("_ADDRESS_WITHOUT_PORT")? {
            "DOWNSTREAM_DIRECT_LOCAL" => |f| Some(&f.info.connection.direct_local_address),
            "DOWNSTREAM_DIRECT_REMOTE" => |f| Some(&f.info.connection.remote_address),
            "DOWNSTREAM_LOCAL" => |f| Some(&f.info.connection.local_address),
            "DOWNSTREAM_REMOTE" => |f| Some(&f.info.remote_address),
            "UPSTREAM_LOCAL" => |f| f.info.upstream.local_address.as_ref(),
            "UPSTREAM_REMOTE" => upstream_remote_address,
            _ => return None,
        };
        let prefix = argument.optional().map(|bits| {
            let bits = bits.parse().ok().filter(|bits| *bits <= IPV6_BITS);
            bits.ok_or_else(|| format!("its argument is no prefix length from 0 to {IPV6_BITS}"))
        });
        Some(prefix.transpose().map(|prefix| Self { of, prefix }))
    }

    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        let Some(address) = (self.of)(facts) else { return false };
        match (address.ip().map(|a| a.ip()), self.prefix) {
            (None, _) => put(out, address),
            (Some(ip), None) => put(out, ip),
            (Some(ip), Some(bits)) => {
                masked(ip, bits).is_some_and(|network| put(out, format_args!("{network}/{bits}")))
            }
        }
    }
}

/// The address with its first `bits` only; `None` where it has not as many.
fn masked(ip: IpAddr, bits: u8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let cut = u32::from(IPV4_BITS.checked_sub(bits)?);
            let mask = u32::MAX.checked_shl(cut).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let cut = u32::from(IPV6_BITS.checked_sub(bits)?);
            let mask = u128::MAX.checked_shl(cut).unwrap_or(0);
            Some(Ipv6Addr::from(u128::from(ip) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        let masked = |ip: &str, bits| masked(ip.parse().unwrap(), bits).map(|ip| ip.to_string());
        assert_eq!(masked("10.1.10.23", 16).as_deref(), Some("10.1.0.0"));
        assert_eq!(masked("10.1.10.23", 0).as_deref(), Some("0.0.0.0"));
        assert_eq!(masked("10.1.10.23", 32).as_deref(), Some("10.1.10.23"));
        assert_eq!(masked("10.1.10.23", 33), None);
        assert_eq!(masked("2001:db8:1:2:3::", 64).as_deref(), Some("2001:db8:1:2::"));
    }
}
