//! The rules for names, labels and other short texts, each with Kubernetes' exact complaint.
//! Every rule returns what is wrong with a text; nothing if it is right.

/// What is wrong with a text.
pub(super) type Problems = Vec<&'static str>;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
    or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
    regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_PARTS: &str = "a qualified name must consist of alphanumeric characters, '-', '_' \
    or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  \
    or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with \
    an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or \
    '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
    '[-._a-zA-Z0-9]+')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
    start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
    'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
    subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an \
    alphanumeric character (e.g. '*.example.com', regex used for validation is \
    '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII \
    characters other than '='";

/// An RFC 1123 label: namespaces, containers, volumes.
pub(super) fn dns_label(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push("must be no more than 63 bytes");
    }
    if !is_dns_label(text) {
        problems.push(LABEL);
    }
    problems
}

/// A DNS-1035 label: services, whose names may stand first in a name of DNS and in a variable.
pub(super) fn dns_1035_label(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push("must be no more than 63 bytes");
    }
    if !is_dns_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        problems.push(DNS_1035);
    }
    problems
}

/// The host of a rule: a subdomain, or one with `*` for its first label.
pub(super) fn host(text: &str) -> Problems {
    if !text.contains('*') {
        return dns_subdomain(text);
    }
    let mut problems = Vec::new();
    if text.len() > 253 {
        problems.push("must be no more than 253 bytes");
    }
    let rest = text.strip_prefix("*.");
    if !rest.is_some_and(|rest| rest.split('.').all(is_dns_label)) {
        problems.push(WILDCARD);
    }
    problems
}

/// A domain name of at least two labels; a dot at its end is allowed.
pub(super) fn domain(text: &str) -> Problems {
    let text = text.strip_suffix('.').unwrap_or(text);
    let problems = dns_subdomain(text);
    if problems.is_empty() && !text.contains('.') {
        return vec!["should be a domain with at least two segments separated by dots"];
    }
    problems
}

/// An RFC 1123 subdomain: most objects.
pub(super) fn dns_subdomain(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 253 {
        problems.push("must be no more than 253 bytes");
    }
    if !text.split('.').all(is_dns_label) {
        problems.push(SUBDOMAIN);
    }
    problems
}

/// The key of a label, an annotation, a taint: a name with an optional domain before it.
pub(super) fn qualified(text: &str) -> Problems {
    let (prefix, name) = match text.split_once('/') {
        Some((_, rest)) if rest.contains('/') => return vec![QUALIFIED_PARTS],
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty"),
        Some(prefix) if prefix.len() > 253 => {
            problems.push("prefix part must be no more than 253 bytes");
        }
        Some(prefix) if !prefix.split('.').all(is_dns_label) => problems.push(PREFIX),
        Some(_) | None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty");
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes");
    }
    if !is_word(name) {
        problems.push(QUALIFIED);
    }
    problems
}

const PREFIX: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// The value of a label or a taint.
pub(super) fn label_value(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push("must be no more than 63 bytes");
    }
    if !text.is_empty() && !is_word(text) {
        problems.push(LABEL_VALUE);
    }
    problems
}

/// A key of a ConfigMap or a Secret: it may become a file's name.
pub(super) fn config_key(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 253 {
        problems.push("must be no more than 253 bytes");
    }
    if text.is_empty() || !text.bytes().all(is_word_byte) {
        problems.push(CONFIG_KEY);
    }
    match text {
        "." => problems.push("must not be '.'"),
        ".." => problems.push("must not be '..'"),
        _ if text.starts_with("..") => problems.push("must not start with '..'"),
        _ => {}
    }
    problems
}

/// The name of an environment variable.
pub(super) fn env_name(text: &str) -> Problems {
    let right = text
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if text.is_empty() || !right {
        vec![ENV_NAME]
    } else {
        Vec::new()
    }
}

/// The name of a container's port, also where something points to it.
pub(super) fn port_name(text: &str) -> Problems {
    let mut problems = Vec::new();
    if text.len() > 15 {
        problems.push("must be no more than 15 characters");
    }
    if !text.bytes().all(|b| is_lower(b) || b == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens");
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen");
    }
    problems
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| is_lower(*first) && is_lower(*last))
        && bytes.iter().all(|b| is_lower(*b) || *b == b'-')
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().copied().all(is_word_byte)
}
