//! Content negotiation: in what form the client wants objects, and in what form it sent its body.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use skiff_api::Reason;

use super::reply::{Refused, refuse};

/// The form of the objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    Plain,
    /// Rows for people.
    Table(MetaVersion, Include),
    /// Only their metadata.
    Metadata(MetaVersion),
}

/// A version of `meta.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What the rows of a table carry beside their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// Reads the query parameter `includeObject`.
    ///
    /// # Errors
    /// 400 if it is none of the three words.
    pub(crate) fn parse(word: Option<&str>) -> Result<Self, Refused> {
        match word {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                let message = format!("unrecognized includeObject value: {other:?}");
                Err(refuse(Reason::BadRequest, message))
            }
        }
    }
}

/// The versions of aggregated discovery, or plain documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    Plain,
    V2,
    V2Beta1,
}

/// One entry of an `Accept` header that JSON can answer.
struct Offer<'a> {
    convert: &'a str,
    group: &'a str,
    version: &'a str,
}

/// The entries of `Accept` that JSON can answer, in the client's order.
fn offers(accept: &str) -> impl Iterator<Item = Offer<'_>> {
    accept.split(',').filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            return None;
        }
        let mut offer = Offer {
            convert: "",
            group: "",
            version: "",
        };
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("as", value)) => offer.convert = value,
                Some(("g", value)) => offer.group = value,
                Some(("v", value)) => offer.version = value,
                Some(_) | None => {}
            }
        }
        Some(offer)
    })
}

fn accept(headers: &HeaderMap) -> &str {
    let value = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    value.filter(|text| !text.is_empty()).unwrap_or("*/*")
}

/// The form in which the client wants objects.
///
/// # Errors
/// 406 if it accepts nothing that can be answered.
pub(crate) fn form(headers: &HeaderMap, include: Option<&str>) -> Result<Form, Refused> {
    for offer in offers(accept(headers)) {
        let version = match offer.version {
            "v1" => Some(MetaVersion::V1),
            "v1beta1" => Some(MetaVersion::V1Beta1),
            _ => None,
        };
        let version = version.filter(|_| offer.group == "meta.k8s.io");
        match (offer.convert, version) {
            ("", _) => return Ok(Form::Plain),
            ("Table", Some(version)) => return Ok(Form::Table(version, Include::parse(include)?)),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", Some(version)) => {
                return Ok(Form::Metadata(version));
            }
            _ => {}
        }
    }
    Err(not_acceptable())
}

/// In which form the client wants discovery.
pub(crate) fn discovery(headers: &HeaderMap) -> Discovery {
    let wanted = offers(accept(headers)).find_map(|offer| {
        match (offer.convert, offer.group, offer.version) {
            ("", ..) => Some(Discovery::Plain),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Discovery::V2),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => Some(Discovery::V2Beta1),
            _ => None,
        }
    });
    wanted.unwrap_or(Discovery::Plain)
}

fn not_acceptable() -> Refused {
    let message = "only the following media types are accepted: application/json, \
                   application/json;as=Table;g=meta.k8s.io;v=v1, \
                   application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    refuse(Reason::NotAcceptable, message)
}

/// How the client wrote the body of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyType {
    Json,
    Yaml,
    JsonPatch,
    MergePatch,
    StrategicPatch,
}

/// The type of the body; without a header it is JSON, as old kubectls rely on.
///
/// # Errors
/// 415 if it is of a type that is not served.
pub(crate) fn body_type(headers: &HeaderMap) -> Result<BodyType, Refused> {
    let header = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let media = header.split(';').next().unwrap_or("").trim();
    match media {
        "" | "application/json" => Ok(BodyType::Json),
        "application/yaml" => Ok(BodyType::Yaml),
        "application/json-patch+json" => Ok(BodyType::JsonPatch),
        "application/merge-patch+json" => Ok(BodyType::MergePatch),
        "application/strategic-merge-patch+json" => Ok(BodyType::StrategicPatch),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => Err(unsupported(
            "server-side apply is not served yet; use kubectl apply without --server-side",
        )),
        "application/vnd.kubernetes.protobuf" => Err(unsupported(
            "protobuf bodies are not served yet; send application/json \
             (kubectl up to 1.31 does, and every kubectl with apply -f or create -f)",
        )),
        _ => Err(unsupported(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml",
        )),
    }
}

pub(crate) fn unsupported(message: &str) -> Refused {
    refuse(Reason::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn header(name: http::header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_first_form_that_can_be_answered_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                       application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let cases = [
            ("no header is plain", "", Ok(Form::Plain)),
            (
                "kubectl get",
                kubectl,
                Ok(Form::Table(MetaVersion::V1, Include::Metadata)),
            ),
            (
                "an old kubectl get",
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                Ok(Form::Table(MetaVersion::V1Beta1, Include::Metadata)),
            ),
            (
                "protobuf first, then JSON",
                "application/vnd.kubernetes.protobuf,application/json",
                Ok(Form::Plain),
            ),
            (
                "metadata only",
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Ok(Form::Metadata(MetaVersion::V1)),
            ),
            (
                "an unknown conversion falls through to the next",
                "application/json;as=Poem;g=meta.k8s.io;v=v1, */*",
                Ok(Form::Plain),
            ),
            (
                "only protobuf",
                "application/vnd.kubernetes.protobuf",
                Err(406),
            ),
        ];
        for (name, accept, expected) in cases {
            let found = form(&header(ACCEPT, accept), None).map_err(|status| status.code);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_in_words() {
        let cases = [
            (
                "application/vnd.kubernetes.protobuf",
                "protobuf bodies are not served yet",
            ),
            (
                "application/apply-patch+yaml",
                "server-side apply is not served yet",
            ),
            ("application/x-www-form-urlencoded", "unknown format"),
        ];
        for (media, expected) in cases {
            let status = body_type(&header(CONTENT_TYPE, media)).unwrap_err();
            assert_eq!(status.code, 415, "{media}");
            assert!(status.message.contains(expected), "{}", status.message);
        }
        let charset = header(CONTENT_TYPE, "application/json; charset=utf-8");
        assert_eq!(body_type(&charset).ok(), Some(BodyType::Json));
        assert_eq!(body_type(&HeaderMap::new()).ok(), Some(BodyType::Json));
    }
}
