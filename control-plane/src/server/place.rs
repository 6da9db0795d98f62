//! Who a server is among the others: its place in the cluster, its address, and all the names that
//! its certificate must be good for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::{ServerConfig, ServerError};
use crate::ask::host_of;
use crate::join;
use crate::joining;
use crate::members::admission::{self, Applicant};
use crate::members::record::Record;
use crate::members::{FORMAT, Formats, Member};
use crate::pki::ServerNames;

/// The name of a server whose machine has none that can be used.
const NAME: &str = "server";

/// Who this server is, by its data directory or by joining; and how it wants to be known.
pub(super) async fn find_place(
    config: &ServerConfig,
    address: SocketAddr,
) -> Result<(Record, Member), ServerError> {
    let applicant = Applicant {
        name: config.name.clone().unwrap_or_else(host_name),
        address: advertised(config, address),
        formats: Formats::default(),
    };
    join::check_name("server", &applicant.name).map_err(|no| ServerError::Name(no.message))?;
    admission::check_address(&applicant.address).map_err(ServerError::Name)?;
    let mut record = joining::find_place(&config.data_dir, &config.invitation, &applicant).await?;
    let me = Member {
        id: record.id,
        name: config.name.clone().unwrap_or_else(|| record.name.clone()),
        address: applicant.address,
        format: FORMAT,
    };
    // A founder is in no list yet, and everybody else may have moved.
    record.members.retain(|member| member.id != me.id);
    record.members.push(me.clone());
    Ok((record, me))
}

/// This machine's name, as a server's name may be.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap_or_default().to_lowercase();
    let good = join::check_name("server", &name).is_ok();
    if good { name } else { NAME.to_owned() }
}

/// `HOST:PORT` at which others reach this server.
fn advertised(config: &ServerConfig, address: SocketAddr) -> String {
    let port = address.port();
    match &config.advertise {
        Some(host) if has_port(host) => host.clone(),
        Some(host) => format!("{host}:{port}"),
        None if address.ip().is_unspecified() => {
            let ip = own_address().unwrap_or(Ipv4Addr::LOCALHOST.into());
            SocketAddr::new(ip, port).to_string()
        }
        None => address.to_string(),
    }
}

fn has_port(host: &str) -> bool {
    let port = host.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.contains(']'))
}

/// Everything that clients may call this server.
pub(super) fn names(config: &ServerConfig, address: SocketAddr) -> ServerNames {
    let mut dns = vec!["localhost".to_owned(), "kubernetes".to_owned()];
    let mut ips: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let uname = rustix::system::uname();
    if let Ok(name) = uname.nodename().to_str() {
        dns.push(name.to_lowercase());
    }
    if address.ip().is_unspecified() {
        ips.extend(own_address());
    } else {
        ips.push(address.ip());
    }
    let advertised = advertised(config, address);
    match host_of(&advertised).parse() {
        Ok(ip) => ips.push(ip),
        Err(_) => dns.push(host_of(&advertised).to_owned()),
    }
    dns.sort();
    dns.dedup();
    ips.sort();
    ips.dedup();
    ServerNames { dns, ips }
}

/// The address that this machine would use to reach others; sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_server_is_the_one_that_others_use() {
        let cases = [
            ("127.0.0.1:7000", None, "127.0.0.1:7000"),
            ("127.0.0.1:7000", Some("first:6443"), "first:6443"),
            ("127.0.0.1:7000", Some("first"), "first:7000"),
            ("127.0.0.1:7000", Some("[fd00::1]"), "[fd00::1]:7000"),
            ("127.0.0.1:7000", Some("[fd00::1]:1"), "[fd00::1]:1"),
            ("[::1]:7000", None, "[::1]:7000"),
        ];
        for (listen, advertise, expected) in cases {
            let address: SocketAddr = listen.parse().unwrap();
            let mut config = ServerConfig::new("D".into(), address);
            config.advertise = advertise.map(str::to_owned);
            assert_eq!(advertised(&config, address), expected);
            let names = names(&config, address);
            let host = host_of(expected).to_owned();
            let covered = names.dns.contains(&host)
                || host.parse().is_ok_and(|ip: IpAddr| names.ips.contains(&ip));
            assert!(covered, "{host}: {names:?}");
        }
    }
}
