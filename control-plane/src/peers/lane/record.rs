//! Requests and answers as frames: `id u64 | fields u16 | (length u32 | bytes)… | body`, numbers
//! little-endian. The fields are the first line and then names and values of headers in turn.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::peers::frame::{self, TooLong};

/// A request on a lane is small: a large one would hold up those behind it.
pub(super) const ASKED_BYTES_MAX: usize = 128 << 10;
/// Its answer is an object, which may be larger.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Tells requests under way apart.
pub(super) type Id = u64;

/// Appends a request.
///
/// # Errors
/// [`TooLong`] if it is too large for a lane.
pub(super) fn append_request(
    id: Id,
    request: &Request<Bytes>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let path = request.uri().path_and_query();
    let line = [
        request.method().as_str(),
        path.map_or("/", |path| path.as_str()),
    ];
    let line = line.map(str::as_bytes);
    frame::append(out, ASKED_BYTES_MAX, |out| {
        append_record(id, &line, request.headers(), request.body(), out);
        Ok(())
    })
}

/// Reads a request, or nothing if these bytes are none.
pub(super) fn read_request(frame: Bytes) -> Option<(Id, Request<Bytes>)> {
    let (id, mut fields, body) = read_record(frame)?;
    let method = Method::from_bytes(&fields.next()?).ok()?;
    let uri = Uri::from_maybe_shared(fields.next()?).ok()?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(fields)?;
    Some((id, request))
}

/// Appends an answer.
///
/// # Errors
/// [`TooLong`] if it is larger than an object can be.
pub(super) fn append_answer(
    id: Id,
    answer: &Response<Bytes>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let status = answer.status();
    let line = [status.as_str().as_bytes()];
    frame::append(out, ANSWER_BYTES_MAX, |out| {
        append_record(id, &line, answer.headers(), answer.body(), out);
        Ok(())
    })
}

/// Reads an answer, or nothing if these bytes are none.
pub(super) fn read_answer(frame: Bytes) -> Option<(Id, Response<Bytes>)> {
    let (id, mut fields, body) = read_record(frame)?;
    let status = StatusCode::from_bytes(&fields.next()?).ok()?;
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers(fields)?;
    Some((id, answer))
}

/// Appends the word that no request from this one on is taken, and none will be: they had no effect.
///
/// # Errors
/// None: it is short.
pub(super) fn append_end(untaken: Id, out: &mut Vec<u8>) -> Result<(), TooLong> {
    frame::append(out, ANSWER_BYTES_MAX, |out| {
        out.extend_from_slice(&untaken.to_le_bytes());
        Ok(())
    })
}

/// Reads that word, or nothing if the frame is something else: whatever else there is, is longer.
pub(super) fn read_end(frame: &[u8]) -> Option<Id> {
    frame.try_into().map(Id::from_le_bytes).ok()
}

fn append_record(id: Id, line: &[&[u8]], headers: &HeaderMap, body: &[u8], out: &mut Vec<u8>) {
    let place = out.len();
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    let pairs = headers.iter();
    let pairs = pairs.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
    let mut count = 0_u16;
    for field in line.iter().copied().chain(pairs) {
        // No head is so large that these would not do: a frame of such a length is refused.
        count = count.saturating_add(1);
        let len = u32::try_from(field.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(field);
    }
    let counted = place + size_of::<Id>();
    if let Some(place) = out.get_mut(counted..counted + 2) {
        place.copy_from_slice(&count.to_le_bytes());
    }
    out.extend_from_slice(body);
}

fn read_record(mut frame: Bytes) -> Option<(Id, std::vec::IntoIter<Bytes>, Bytes)> {
    let id = frame.try_get_u64_le().ok()?;
    let count = frame.try_get_u16_le().ok()?;
    let field = |_| {
        let len = usize::try_from(frame.try_get_u32_le().ok()?).ok()?;
        (len <= frame.len()).then(|| frame.split_to(len))
    };
    let fields: Option<Vec<Bytes>> = (0..count).map(field).collect();
    Some((id, fields?.into_iter(), frame))
}

fn headers(mut fields: impl Iterator<Item = Bytes>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    while let Some(name) = fields.next() {
        let name = HeaderName::from_bytes(&name).ok()?;
        let value = HeaderValue::from_maybe_shared(fields.next()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peers::frame::Frames;

    fn only_frame(bytes: &[u8]) -> Bytes {
        let mut frames = Frames::new(ANSWER_BYTES_MAX);
        frames.push(bytes);
        let frame = frames.next().unwrap().unwrap();
        assert!(frames.into_rest().is_empty());
        frame
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let sent = Request::patch("https://there/api/v1/pods?dryRun=All")
            .header("accept", "application/json")
            .header("accept", "text/plain")
            .header(
                "skiff-user",
                HeaderValue::from_bytes("käse".as_bytes()).unwrap(),
            )
            .body(Bytes::from("body"))
            .unwrap();
        let mut bytes = Vec::new();
        append_request(7, &sent, &mut bytes).unwrap();
        let (id, found) = read_request(only_frame(&bytes)).unwrap();
        assert_eq!(id, 7);
        assert_eq!(found.method(), "PATCH");
        assert_eq!(found.uri(), "/api/v1/pods?dryRun=All");
        assert_eq!(found.headers(), sent.headers());
        assert_eq!(found.body(), "body");
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        for body in ["", "body"] {
            let sent = Response::builder()
                .status(409)
                .header("warning", "299 - \"a\"")
                .header("warning", "299 - \"b\"")
                .body(Bytes::from(body))
                .unwrap();
            let mut bytes = Vec::new();
            append_answer(u64::MAX, &sent, &mut bytes).unwrap();
            let (id, found) = read_answer(only_frame(&bytes)).unwrap();
            assert_eq!(id, u64::MAX);
            assert_eq!(found.status(), sent.status());
            assert_eq!(found.headers(), sent.headers());
            assert_eq!(found.body(), body);
        }
    }

    #[test]
    fn the_end_is_no_answer_and_no_answer_is_the_end() {
        let mut bytes = Vec::new();
        append_end(7, &mut bytes).unwrap();
        let frame = only_frame(&bytes);
        assert_eq!(read_end(&frame), Some(7));
        assert!(read_answer(frame).is_none());
        let mut bytes = Vec::new();
        append_answer(7, &Response::new(Bytes::new()), &mut bytes).unwrap();
        assert_eq!(read_end(&only_frame(&bytes)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = Bytes::from(bytes);
            let _ = read_request(bytes.clone());
            let _ = read_answer(bytes);
        }

        #[test]
        fn cut_short_it_is_refused_or_has_less_of_a_body(cut in 0..90_usize) {
            let sent = Request::post("/api").header("a", "b").body(Bytes::from("0123456789"));
            let mut bytes = Vec::new();
            append_request(1, &sent.unwrap(), &mut bytes).unwrap();
            let frame = only_frame(&bytes);
            let cut = cut.min(frame.len());
            if let Some((_, found)) = read_request(frame.slice(..cut)) {
                prop_assert!("0123456789".as_bytes().starts_with(found.body()));
            }
        }
    }
}
