//! The options of lists and watches, checked as Kubernetes checks `metav1.ListOptions`.

use std::time::Duration;

use skiff_api::{Reason, Revision};

use super::pages::Token;
use super::query::Query;
use super::reply::{Refused, refuse};

/// How fresh the state must be that answers a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// All that was acknowledged before the request came.
    Latest,
    /// Whatever is at hand.
    Any,
    /// This revision or a later one.
    NotOlderThan(Revision),
    /// This revision.
    Exact(Revision),
}

/// How to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListOptions {
    pub(crate) freshness: Freshness,
    /// Objects in an answer at most; `None` for all.
    pub(crate) limit: Option<usize>,
    /// Where a previous page ended.
    pub(crate) page: Option<Token>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With every object there is, as if just added.
    Everything(Freshness),
    /// As before, and a bookmark says when that is done.
    Marked(Freshness),
    /// With the first change after a revision.
    Behind(Revision),
    /// With the next change.
    Now,
}

/// How to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchOptions {
    pub(crate) start: Start,
    pub(crate) bookmarks: bool,
    /// How long the watch lasts, if the client said so.
    pub(crate) timeout: Option<Duration>,
}

/// A watch may not be asked to last longer: its client starts over anyway.
const TIMEOUT_SECONDS_MAX: u64 = 24 * 60 * 60;

/// A `resourceVersion`: `None` if it is not given.
///
/// # Errors
/// 400 if it is not a number.
pub(crate) fn revision(query: &Query) -> Result<Option<Revision>, Refused> {
    query.get("resourceVersion").map(parse_revision).transpose()
}

fn parse_revision(text: &str) -> Result<Revision, Refused> {
    text.parse().map(Revision).map_err(|_| {
        let message = format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        );
        refuse(Reason::BadRequest, message)
    })
}

/// The freshness that a GET of one object asks for.
///
/// # Errors
/// 400 if its `resourceVersion` is not a number.
pub(crate) fn freshness_of_get(query: &Query) -> Result<Freshness, Refused> {
    Ok(not_older(revision(query)?))
}

fn not_older(revision: Option<Revision>) -> Freshness {
    match revision {
        None => Freshness::Latest,
        Some(Revision(0)) => Freshness::Any,
        Some(revision) => Freshness::NotOlderThan(revision),
    }
}

impl ListOptions {
    /// Reads the query of a list.
    ///
    /// # Errors
    /// 400 for what can't be read, 422 for options that exclude each other.
    pub(crate) fn parse(query: &Query) -> Result<Self, Refused> {
        if query.maybe_flag("sendInitialEvents").is_some() {
            return Err(invalid(
                "sendInitialEvents",
                "Forbidden",
                "is forbidden for list",
            ));
        }
        let limit = query.number("limit")?.unwrap_or(0);
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let page = query.get("continue").map(Token::parse).transpose()?;
        let revision = revision(query)?;
        if page.is_some() && revision.is_some_and(|revision| revision != Revision(0)) {
            let message = "specifying resource version is not allowed when using continue";
            return Err(refuse(Reason::BadRequest, message));
        }
        let freshness = match query.get("resourceVersionMatch") {
            None => match revision {
                // As it was before there was resourceVersionMatch.
                Some(exact) if limit.is_some() && exact != Revision(0) => Freshness::Exact(exact),
                _ => not_older(revision),
            },
            Some(word) => matching(word, revision, page.is_some())?,
        };
        Ok(Self {
            freshness,
            limit,
            page,
        })
    }
}

fn matching(word: &str, revision: Option<Revision>, paged: bool) -> Result<Freshness, Refused> {
    const FIELD: &str = "resourceVersionMatch";
    if paged {
        return Err(invalid(FIELD, "Forbidden", "is forbidden for continue"));
    }
    let Some(revision) = revision else {
        return Err(invalid(
            FIELD,
            "Forbidden",
            "is forbidden unless resourceVersion is provided",
        ));
    };
    match word {
        "NotOlderThan" => Ok(not_older(Some(revision))),
        "Exact" if revision == Revision(0) => {
            let why = "\"exact\" is forbidden for resourceVersion \"0\"";
            Err(invalid(FIELD, "Forbidden", why))
        }
        "Exact" => Ok(Freshness::Exact(revision)),
        _ => Err(unsupported_match(word)),
    }
}

impl WatchOptions {
    /// Reads the query of a watch.
    ///
    /// # Errors
    /// 400 for what can't be read, 422 for options that exclude each other.
    pub(crate) fn parse(query: &Query) -> Result<Self, Refused> {
        const FIELD: &str = "resourceVersionMatch";
        let initial = query.maybe_flag("sendInitialEvents");
        let revision = revision(query)?;
        match (initial, query.get(FIELD)) {
            (None, Some(_)) => {
                let why = "is forbidden for watch unless sendInitialEvents is provided";
                return Err(invalid(FIELD, "Forbidden", why));
            }
            (Some(_), None) => {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return Err(invalid(FIELD, "Forbidden", why));
            }
            (Some(_), Some(word)) if word != "NotOlderThan" => return Err(unsupported_match(word)),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let bookmarks = query.flag("allowWatchBookmarks");
        let fresh = not_older(revision);
        let start = match (initial, revision) {
            (Some(true), _) if bookmarks => Start::Marked(fresh),
            (Some(true), _) | (None, None | Some(Revision(0))) => Start::Everything(fresh),
            (Some(false), None | Some(Revision(0))) => Start::Now,
            (Some(false) | None, Some(revision)) => Start::Behind(revision),
        };
        let timeout = query.number("timeoutSeconds")?.and_then(|seconds| {
            let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
            Some(Duration::from_secs(seconds.min(TIMEOUT_SECONDS_MAX)))
        });
        Ok(Self {
            start,
            bookmarks,
            timeout,
        })
    }
}

fn unsupported_match(word: &str) -> Refused {
    let message = format!(
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: \
         Unsupported value: {word:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
    );
    refuse(Reason::Invalid, message)
}

fn invalid(field: &str, what: &str, why: &str) -> Refused {
    let message =
        format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {what}: {field} {why}");
    refuse(Reason::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    #[test]
    fn a_list_is_as_fresh_as_it_asks() {
        use Freshness::{Any, Exact, Latest, NotOlderThan};
        let cases = [
            ("", Ok(Latest)),
            ("limit=5", Ok(Latest)),
            ("resourceVersion=0", Ok(Any)),
            ("resourceVersion=0&limit=5", Ok(Any)),
            ("resourceVersion=7", Ok(NotOlderThan(Revision(7)))),
            ("resourceVersion=7&limit=5", Ok(Exact(Revision(7)))),
            (
                "resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan",
                Ok(NotOlderThan(Revision(7))),
            ),
            (
                "resourceVersion=7&resourceVersionMatch=Exact",
                Ok(Exact(Revision(7))),
            ),
            ("resourceVersion=0&resourceVersionMatch=Exact", Err(422)),
            ("resourceVersion=7&resourceVersionMatch=Near", Err(422)),
            ("resourceVersionMatch=Exact", Err(422)),
            ("sendInitialEvents=true", Err(422)),
            ("resourceVersion=new", Err(400)),
            ("limit=many", Err(400)),
            ("continue=nonsense", Err(400)),
        ];
        for (text, expected) in cases {
            let found = ListOptions::parse(&query(text));
            let found = found
                .map(|options| options.freshness)
                .map_err(|status| status.code);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_watch_begins_where_it_asks() {
        use Freshness::{Any, Latest, NotOlderThan};
        let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        let marked = format!("{initial}&allowWatchBookmarks=true&resourceVersion=7");
        let none = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        let cases = [
            ("", Ok(Start::Everything(Latest))),
            ("resourceVersion=0", Ok(Start::Everything(Any))),
            ("resourceVersion=7", Ok(Start::Behind(Revision(7)))),
            (initial, Ok(Start::Everything(Latest))),
            (
                marked.as_str(),
                Ok(Start::Marked(NotOlderThan(Revision(7)))),
            ),
            (none, Ok(Start::Now)),
            ("sendInitialEvents=true", Err(422)),
            ("resourceVersionMatch=NotOlderThan", Err(422)),
            (
                "sendInitialEvents=true&resourceVersionMatch=Exact",
                Err(422),
            ),
        ];
        for (text, expected) in cases {
            let found = WatchOptions::parse(&query(text));
            let found = found
                .map(|options| options.start)
                .map_err(|status| status.code);
            assert_eq!(found, expected, "{text}");
        }
        let timeout = |text| WatchOptions::parse(&query(text)).unwrap().timeout;
        assert_eq!(timeout("timeoutSeconds=5"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("timeoutSeconds=0"), None);
    }
}
