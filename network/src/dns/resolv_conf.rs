//! The file that tells a machine or a pod whom to ask for names. Pure: text in, text out.

use std::fmt;
use std::net::IpAddr;

/// What `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Who is asked, the first one first.
    pub servers: Vec<IpAddr>,
    /// What is tried behind names that are not complete.
    pub searches: Vec<String>,
    /// Options as they are written: `ndots:5`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads a file. What is not known is passed over, as every resolver does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or("");
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => {
                    // An address may say by which interface; that means nothing inside a pod.
                    let address = words.next().unwrap_or_default();
                    let address = address.split('%').next().unwrap_or("");
                    read.servers.extend(address.parse::<IpAddr>());
                }
                // Of several lines the last one counts.
                Some("search") => read.searches = words.filter(|name| name != ".").collect(),
                Some("domain") => read.searches = words.take(1).collect(),
                Some("options") => read.options.extend(words),
                Some(_) | None => {}
            }
        }
        read
    }

    /// Sets an option, in the place of an earlier one of that name.
    pub fn set_option(&mut self, option: &str) {
        let name = |option: &str| option.split(':').next().unwrap_or("").to_owned();
        self.options.retain(|known| name(known) != name(option));
        self.options.push(option.to_owned());
    }
}

/// The text of the file.
impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}
