//! How servers come in: `join` with a token, `announce` with a server's certificate when a name,
//! an address or a version changes, and the tokens for those who come later.

use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use skiff_api::{Reason, Status};

use super::{
    Cluster, Who, answer, must_administrate, must_be_server, now, refuse, stamper, unchanged,
};
use crate::bootstrap::{self, Tokens};
use crate::join::{Failure, check_name, check_token, read};
use crate::members::admission::{self, Admission, Applicant};
use crate::members::{Formats, Member, role, urls};
use crate::store::MemberChange;
use crate::token::{self, Token, Usage};

/// Where a server joins.
pub(crate) const JOIN: &str = "/skiff/v1/servers/join";
/// Where a server says what has changed about it.
pub(crate) const ANNOUNCE: &str = "/skiff/v1/servers/announce";
/// Where a server gets the tokens for its data directory.
pub(crate) const TOKENS: &str = "/skiff/v1/servers/tokens";

/// What a server that joined has to know.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinAnswer {
    /// Its id.
    pub member: u64,
    /// The cluster's CA.
    pub ca: CaPair,
    /// All servers, itself included.
    pub members: Vec<Member>,
    /// The revision of that list.
    pub revision: u64,
    /// The voters with which the raft group began.
    pub founders: Vec<u64>,
    /// Tokens for those who join later.
    pub tokens: Tokens,
}

/// The certificate and the private key of the CA, in PEM.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CaPair {
    pub cert: String,
    pub key: String,
}

/// What a member says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announcement {
    #[serde(flatten)]
    pub member: Member,
    #[serde(default)]
    pub formats: Formats,
}

/// Nothing but that it was done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {}

/// Takes in a server. Whatever is interrupted is cleaned up by the loop, and the server asks again.
pub(super) async fn join(
    Shared(cluster): Shared<Cluster>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let applicant: Applicant = read(&body)?;
    check_token(&headers, Usage::Server, &cluster.store().state())?;
    check_name("server", &applicant.name)?;
    cluster.must_lead()?;
    let changing = cluster.0.changing.lock().await;
    let admission = cluster.admit(&applicant).await?;
    cluster.add(&admission).await?;
    drop(changing);
    let tokens = cluster.issue_tokens().await?;
    let (list, _) = cluster.view().await?;
    let Member {
        id, name, address, ..
    } = &admission.member;
    tracing::info!(member = id, name, address, "a server joined");
    let pki = &cluster.0.pki;
    answer(&JoinAnswer {
        member: *id,
        ca: CaPair {
            cert: pki.ca_pem().to_owned(),
            key: pki.ca_key_pem(),
        },
        revision: list.revision().0,
        members: list.members.into_values().collect(),
        founders: cluster.0.founders.clone(),
        tokens,
    })
}

/// Takes notice of what a member says about itself.
pub(super) async fn announce(
    Shared(cluster): Shared<Cluster>,
    who: Who,
    body: Bytes,
) -> Result<Response, Failure> {
    must_be_server(&who)?;
    let announcement: Announcement = read(&body)?;
    cluster.announced(&announcement).await?;
    answer(&Done {})
}

/// Tokens for the data directory of a server that has none, or old ones.
pub(super) async fn tokens(
    Shared(cluster): Shared<Cluster>,
    who: Who,
) -> Result<Response, Failure> {
    must_be_server(&who)?;
    cluster.must_lead()?;
    answer(&cluster.issue_tokens().await?)
}

#[derive(Serialize)]
struct Invitation {
    token: String,
    expires: String,
    servers: Vec<String>,
}

/// A token for one more server, that lives for a day: for `skiff cluster add`.
pub(super) async fn invite(
    Shared(cluster): Shared<Cluster>,
    who: Who,
) -> Result<Response, Failure> {
    must_administrate(&who)?;
    cluster.must_lead()?;
    let token = Token::generate(&cluster.0.pki.ca_hash());
    let expires = now().after(bootstrap::INVITATION_LIFE);
    let draft = token.draft(Usage::Server, expires, &mut stamper());
    let mut writes = token::remove_expired(&cluster.store().state(), now());
    writes.push(draft.create());
    // A token that somebody else removed meanwhile is gone as well.
    cluster.propose(writes).await?;
    answer(&Invitation {
        token: token.text(),
        expires: expires.rfc3339(),
        servers: urls(&crate::members::of(&cluster.store().state())),
    })
}

impl Cluster {
    /// Writes the new member into the list.
    async fn admit(&self, applicant: &Applicant) -> Result<Admission, Status> {
        self.change_list(|list, status| {
            let admission = admission::admit(list, status, applicant).map_err(refuse)?;
            Ok((admission.members.clone(), admission))
        })
        .await
    }

    /// Makes the new member one of the raft group, in the place of its earlier attempts.
    async fn add(&self, admission: &Admission) -> Result<(), Status> {
        for id in &admission.replaced {
            tracing::info!(member = id, "removing an earlier attempt to join");
            let removed = self.store().change_members(MemberChange::Remove(*id)).await;
            removed.map_err(|err| unchanged(&err))?;
        }
        let add = MemberChange::AddLearner(admission.member.id);
        let added = self.store().change_members(add).await;
        added.map_err(|err| unchanged(&err))
    }

    async fn issue_tokens(&self) -> Result<Tokens, Status> {
        let (tokens, writes) = bootstrap::new_tokens(&self.0.pki.ca_hash(), now(), &mut stamper());
        self.propose(writes).await?;
        Ok(tokens)
    }

    /// Writes down what a member says about itself; this server must lead.
    ///
    /// # Errors
    /// Why not and what to do, for that member.
    pub(crate) async fn announced(&self, announcement: &Announcement) -> Result<(), Status> {
        let Announcement { member, formats } = announcement;
        check_name("server", &member.name)?;
        admission::check_address(&member.address).map_err(refuse)?;
        self.must_lead()?;
        let _changing = self.0.changing.lock().await;
        self.change_list(|list, status| {
            let mut members = list.members.clone();
            members.remove(&member.id);
            if role(status, member.id).is_none() {
                return Err(gone());
            }
            crate::members::format::check(&members, *formats).map_err(refuse)?;
            let taken = members.values().find(|one| one.name == member.name);
            // Whoever is no member of the group any more does not keep its name.
            if let Some(other) = taken.filter(|one| role(status, one.id).is_some()) {
                return Err(refuse(format!(
                    "the name {:?} belongs to the server at {}; start this one with another --name",
                    other.name, other.address
                )));
            }
            members.insert(member.id, member.clone());
            Ok((members, ()))
        })
        .await
    }
}

fn gone() -> Status {
    let why = "this server was removed from the cluster; stop it, and move its data directory away \
               before it joins again";
    Status::failure(Reason::Forbidden, why)
}
