//! Addresses and ranges of addresses, as text.

use std::net::IpAddr;

use crate::admit::field::{At, Errors};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address of either family.
pub(super) fn address(at: &At<'_, '_>, errors: &mut Errors) -> Option<IpAddr> {
    let parsed = at.text().parse().ok();
    if parsed.is_none() {
        errors.invalid(at, NO_ADDRESS);
    }
    parsed
}

/// An address that traffic can be sent to.
pub(super) fn target(at: &At<'_, '_>, errors: &mut Errors) {
    if let Some(address) = address(at, errors) {
        ordinary(at, address, errors);
    }
}

/// An IPv4 address that traffic can be sent to.
pub(super) fn target_v4(at: &At<'_, '_>, errors: &mut Errors) {
    match at.text().parse() {
        Ok(address) => ordinary(at, IpAddr::V4(address), errors),
        Err(_) => errors.invalid(at, "must be a valid IPv4 address"),
    }
}

/// An IPv6 address that traffic can be sent to.
pub(super) fn target_v6(at: &At<'_, '_>, errors: &mut Errors) {
    match at.text().parse() {
        Ok(address) => ordinary(at, IpAddr::V6(address), errors),
        Err(_) => errors.invalid(at, "must be a valid IPv6 address"),
    }
}

/// Addresses that mean another machine to everybody who reads them lead nowhere, or to a host's
/// own secrets.
fn ordinary(at: &At<'_, '_>, address: IpAddr, errors: &mut Errors) {
    if address.is_unspecified() {
        errors.invalid(at, &format!("may not be unspecified ({})", at.text()));
    }
    if address.is_loopback() {
        errors.invalid(
            at,
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        );
    }
    let (link_local, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            v6.octets().starts_with(&[0xff, 2]),
        ),
    };
    if link_local {
        let detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(at, detail);
    }
    if multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(at, detail);
    }
}

/// A range of addresses: its first address and the length of its prefix.
#[derive(Clone, Copy)]
pub(super) struct Range {
    address: IpAddr,
    prefix: u8,
}

impl Range {
    /// Reads `10.9.8.0/24`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // `+8` would parse as a number.
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = digits.then(|| prefix.parse().ok()).flatten()?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, prefix })
    }

    /// Whether another range lies within this one and is smaller.
    pub(super) fn strictly_holds(&self, other: &Self) -> bool {
        let shared = match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        self.prefix < other.prefix && shared >= u32::from(self.prefix)
    }
}

/// A range of addresses.
pub(super) fn range(at: &At<'_, '_>, errors: &mut Errors) -> Option<Range> {
    let parsed = Range::parse(at.text());
    if parsed.is_none() {
        errors.invalid(at, NO_RANGE);
    }
    parsed
}
