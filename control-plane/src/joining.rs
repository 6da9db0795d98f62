//! How a server finds out who it is: a member already, the founder of a new cluster, or one that
//! joins another with a token. Whoever joins knows the CA's hash from the token, trusts only that
//! CA, and stores its answer before it opens anything: interrupted, it simply joins again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Status;
use tokio::time::Instant;

use crate::ask::{Ask, AskError};
use crate::cluster::{JOIN, JoinAnswer};
use crate::members::admission::Applicant;
use crate::members::record::{Record, RecordError};
use crate::pki::{self, Pki, PkiError};
use crate::token::Token;

/// How long servers that do not answer are asked.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// The first pause; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The port of a server whose URL names none.
const PORT: u16 = 6443;

/// Why a server did not get to know who it is.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No token was given.
    #[error(
        "joining needs a token: --token with the text of server.token in the data directory of a \
         running server, or what `skiff cluster add` prints"
    )]
    NoToken,
    /// The text is no token.
    #[error("the token is not one; it reads ID.SECRET.CA-HASH, as in server.token")]
    BadToken,
    /// The text is no address.
    #[error("{0:?} is not the address of a server; write https://HOST:PORT")]
    BadUrl(String),
    /// The CA is another.
    #[error(
        "the server at {address} has not the CA that the token was made for: wrong server, wrong \
         token, or somebody in between"
    )]
    WrongCa {
        /// Who was asked.
        address: String,
        /// What TLS says.
        #[source]
        source: AskError,
    },
    /// The server is not known by that name.
    #[error("join the cluster")]
    Misnamed(#[source] AskError),
    /// The cluster says no.
    #[error("the cluster does not take this server: {0}")]
    Refused(Box<Status>),
    /// Nobody answers.
    #[error("join the cluster; no server answered for {} s", JOIN_MAX.as_secs())]
    Unanswered(#[source] AskError),
    /// The CA cannot be stored.
    #[error("store what the cluster answered")]
    Store(#[from] PkiError),
    /// Who this server is cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Which cluster to join, if any.
#[derive(Clone, Debug, Default)]
pub struct Invitation {
    /// URLs of its servers, `https://HOST:PORT`; none for a cluster of one's own.
    pub servers: Vec<String>,
    /// The text of a token for servers.
    pub token: Option<String>,
}

/// What a data directory and a command line make of a server.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// It is a member.
    Member(Record),
    /// It founds a cluster of its own.
    Found,
    /// It joins one.
    Join,
}

fn way(record: Option<Record>, has_log: bool, invited: bool) -> Way {
    match record {
        Some(record) => Way::Member(record),
        // The founder writes down who it is only when it serves: that it has a log is enough.
        None if has_log || !invited => Way::Found,
        None => Way::Join,
    }
}

/// Finds out who this server is, and joins a cluster if it has to.
///
/// # Errors
/// [`JoinError`]; it may be tried again.
pub(crate) async fn find_place(
    dir: &Path,
    invitation: &Invitation,
    applicant: &Applicant,
) -> Result<Record, JoinError> {
    let invited = !invitation.servers.is_empty();
    let has_log = dir.join("db").exists();
    match way(Record::load(dir)?, has_log, invited) {
        Way::Found => {
            if invited {
                tracing::warn!(
                    "the data directory holds a cluster: --join and --token are not used"
                );
            }
            Ok(Record::founder(&applicant.name))
        }
        Way::Member(record) => {
            if invited {
                let member = record.id;
                tracing::info!(member, "already a member: --join and --token are not used");
            }
            Ok(record)
        }
        Way::Join => {
            let answer = ask(invitation, applicant).await?;
            let record = accept(dir, answer, applicant)?;
            tracing::info!(member = record.id, name = record.name, "joined the cluster");
            Ok(record)
        }
    }
}

/// Asks all servers in turn until one has an answer.
async fn ask(invitation: &Invitation, applicant: &Applicant) -> Result<JoinAnswer, JoinError> {
    let text = invitation.token.as_deref().ok_or(JoinError::NoToken)?;
    let token = Token::parse(text).ok_or(JoinError::BadToken)?;
    let tls = Arc::new(pki::joining_tls(token.ca_hash()).map_err(JoinError::Tls)?);
    let addresses = invitation.servers.iter().map(|url| address_of(url));
    let addresses: Vec<String> = addresses.collect::<Result<_, _>>()?;
    let text = token.text();
    let limit = Instant::now() + JOIN_MAX;
    let mut pause = PAUSE_FIRST;
    loop {
        let mut unanswered = None;
        for address in &addresses {
            let ask = Ask {
                address,
                tls: tls.clone(),
                path: JOIN,
                token: Some(&text),
            };
            match ask.post(applicant).await {
                Ok(answer) => return Ok(answer),
                Err(err) if err.is_passing() => {
                    tracing::warn!(address, error = %err, "cannot join yet; will try again");
                    unanswered = Some(err);
                }
                Err(err) => return Err(refused(address, err)),
            }
        }
        match unanswered {
            Some(err) if Instant::now() + pause > limit => return Err(JoinError::Unanswered(err)),
            Some(_) => tokio::time::sleep(pause).await,
            None => return Err(JoinError::BadUrl(String::new())),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn refused(address: &str, err: AskError) -> JoinError {
    match err {
        AskError::Refused(status) => JoinError::Refused(status),
        AskError::Stranger { .. } => JoinError::WrongCa {
            address: address.to_owned(),
            source: err,
        },
        AskError::Misnamed { .. } => JoinError::Misnamed(err),
        AskError::Unreachable { .. } | AskError::Broken { .. } => JoinError::Unanswered(err),
    }
}

/// Stores the answer; the record comes last, so that there is all or nothing.
fn accept(dir: &Path, answer: JoinAnswer, applicant: &Applicant) -> Result<Record, JoinError> {
    Pki::adopt_ca(dir, &answer.ca.cert, &answer.ca.key)?;
    answer.tokens.save(dir)?;
    let record = Record {
        id: answer.member,
        name: applicant.name.clone(),
        founders: answer.founders,
        revision: answer.revision,
        members: answer.members,
    };
    record.save(dir)?;
    Ok(record)
}

/// The `HOST:PORT` of a URL; `https://` may be left out.
fn address_of(url: &str) -> Result<String, JoinError> {
    let bad = || JoinError::BadUrl(url.to_owned());
    let url = url.trim();
    let rest = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let uri: http::Uri = rest.parse().map_err(|_| bad())?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if plain => {
            Ok(format!("{host}:{}", uri.port_u16().unwrap_or(PORT)))
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_says_who_a_server_is() {
        let record = || Record::founder("a");
        let cases = [
            ("empty, alone", None, false, false, Way::Found),
            ("empty, invited", None, false, true, Way::Join),
            ("a founder that died early", None, true, true, Way::Found),
            (
                "a member, invited again",
                Some(record()),
                true,
                true,
                Way::Member(record()),
            ),
            (
                "joined, and died before its log was made",
                Some(record()),
                false,
                false,
                Way::Member(record()),
            ),
        ];
        for (name, record, has_log, invited, expected) in cases {
            assert_eq!(way(record, has_log, invited), expected, "{name}");
        }
    }

    #[test]
    fn addresses_come_from_urls() {
        let cases = [
            ("https://10.0.0.1:6443", Some("10.0.0.1:6443")),
            ("https://first:7443/", Some("first:7443")),
            ("https://first", Some("first:6443")),
            ("https://[fd00::1]:6443", Some("[fd00::1]:6443")),
            ("http://first:6443", None),
            ("first:6443", Some("first:6443")),
            ("10.0.0.1", Some("10.0.0.1:6443")),
            ("https://first/path", None),
            ("", None),
        ];
        for (url, expected) in cases {
            assert_eq!(address_of(url).ok().as_deref(), expected, "{url}");
        }
    }
}
