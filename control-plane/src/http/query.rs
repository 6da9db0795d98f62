//! The query of a request: decoding, and reading flags and numbers as Kubernetes does.

use std::borrow::Cow;

use skiff_api::{Reason, Status};

use super::reply::Refused;

/// The parameters of a query, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URI behind the `?`.
    ///
    /// # Errors
    /// 400 if it holds bytes that are not text.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Refused> {
        let parts = text
            .unwrap_or("")
            .split('&')
            .filter(|part| !part.is_empty());
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                percent_decode(&text).map(Cow::into_owned)
            };
            Some((decode(name)?, decode(value)?))
        };
        let pairs: Option<Vec<_>> = parts.map(pair).collect();
        let invalid = || Status::failure(Reason::BadRequest, "the query is not valid UTF-8");
        Ok(Self(pairs.ok_or_else(invalid)?))
    }

    /// The first value of a parameter, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A flag: given and not `0` or `false`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.maybe_flag(name).unwrap_or(false)
    }

    /// A flag that may be left open.
    pub(crate) fn maybe_flag(&self, name: &str) -> Option<bool> {
        let value = self.all(name).next()?;
        Some(value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 if it is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Refused> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            let message = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            Status::failure(Reason::BadRequest, message)
        })?;
        Ok(Some(number))
    }
}

/// Decodes `%XX`; `None` if what comes out is not UTF-8. A stray `%` stands for itself.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let decoded = (first == b'%')
            .then(|| tail.split_at_checked(2))
            .flatten()
            .and_then(|(digits, behind)| Some((hex(digits)?, behind)));
        if let Some((byte, behind)) = decoded {
            out.push(byte);
            rest = behind;
        } else {
            out.push(first);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=app%3Dweb%2Ctier+in+(a)&limit=5&watch&empty=&x=%zz",
        ))
        .unwrap();
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert_eq!(query.get("empty"), None);
        assert_eq!(query.get("x"), Some("%zz"));
        assert!(query.flag("watch"), "a flag needs no value");
        assert!(query.number("labelSelector").is_err());
        assert!(Query::parse(Some("a=%ff")).is_err());
    }

    #[test]
    fn flags_read_as_kubernetes_reads_them() {
        let cases = [
            ("watch=true", true),
            ("watch=1", true),
            ("watch=", true),
            ("watch=False", false),
            ("watch=0", false),
            ("other=1", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Query::parse(Some(text)).unwrap().flag("watch"),
                expected,
                "{text}"
            );
        }
    }
}
