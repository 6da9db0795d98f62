//! Reading an answer with as little work as possible: the load generator shares its cores with what
//! it measures. Pure.

/// The body of the answer that `seen` begins with; none until all of it is there.
///
/// # Errors
/// The answer is not what the backends say, in words.
pub(super) fn body(seen: &[u8]) -> Result<Option<&[u8]>, String> {
    let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = seen.split_at(end + 4);
    let told = || String::from_utf8_lossy(head).into_owned();
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(told());
    }
    let length = length(head).ok_or_else(told)?;
    Ok(rest.get(..length))
}

/// The `Content-Length` of a head.
fn length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    })?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn an_answer_is_read_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nServer: a\r\nCONTENT-length: 5\r\n\r\nusers";
        for end in 0..whole.len() {
            assert_eq!(body(&whole[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(body(whole), Ok(Some(&b"users"[..])));
    }

    #[test]
    fn an_answer_that_no_backend_gives_is_refused() {
        let cases = [
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        ];
        for head in cases {
            assert_eq!(body(head.as_bytes()), Err(head.to_owned()));
        }
    }
}
