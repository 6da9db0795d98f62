//! The OpenAPI v2 document in gnostic's protobuf encoding (`openapi.v2.Document`), with the one
//! fact that kubectl up to 1.27 reads from it: that patches take `dryRun`. Field numbers are those
//! of gnostic's `OpenAPIv2.proto`.

use skiff_api::{Kind, KindInfo};

use super::collection_path;

const DOCUMENT_SWAGGER: u8 = 1;
const DOCUMENT_INFO: u8 = 2;
const DOCUMENT_PATHS: u8 = 8;
const INFO_TITLE: u8 = 1;
const INFO_VERSION: u8 = 2;
const PATHS_PATH: u8 = 2;
const NAMED_NAME: u8 = 1;
const NAMED_VALUE: u8 = 2;
const PATH_ITEM_PATCH: u8 = 8;
const OPERATION_PARAMETERS: u8 = 8;
const OPERATION_VENDOR_EXTENSION: u8 = 13;
const PARAMETERS_ITEM_PARAMETER: u8 = 1;
const PARAMETER_NON_BODY: u8 = 2;
const NON_BODY_QUERY: u8 = 3;
const QUERY_IN: u8 = 2;
const QUERY_NAME: u8 = 4;
const QUERY_TYPE: u8 = 6;
const ANY_YAML: u8 = 2;

/// The document's bytes.
pub(super) fn document() -> Vec<u8> {
    let info = Message::default()
        .text(INFO_TITLE, "Kubernetes")
        .text(INFO_VERSION, "v1.33.0");
    let paths = Kind::all()
        .map(Kind::info)
        .fold(Message::default(), |paths, info| {
            let name = format!("{}/{{name}}", collection_path(info));
            let path = Message::default()
                .text(NAMED_NAME, &name)
                .message(NAMED_VALUE, &path(info));
            paths.message(PATHS_PATH, &path)
        });
    Message::default()
        .text(DOCUMENT_SWAGGER, "2.0")
        .message(DOCUMENT_INFO, &info)
        .message(DOCUMENT_PATHS, &paths)
        .0
}

fn path(info: &KindInfo) -> Message {
    let kind = format!(
        "{{group: \"{}\", version: \"{}\", kind: \"{}\"}}",
        info.group, info.version, info.name
    );
    let extension = Message::default()
        .text(NAMED_NAME, "x-kubernetes-group-version-kind")
        .message(NAMED_VALUE, &Message::default().text(ANY_YAML, &kind));
    let patch = ["dryRun", "fieldManager", "fieldValidation"]
        .iter()
        .fold(Message::default(), |patch, name| {
            patch.message(OPERATION_PARAMETERS, &query_parameter(name))
        })
        .message(OPERATION_VENDOR_EXTENSION, &extension);
    Message::default().message(PATH_ITEM_PATCH, &patch)
}

fn query_parameter(name: &str) -> Message {
    let query = Message::default()
        .text(QUERY_IN, "query")
        .text(QUERY_NAME, name)
        .text(QUERY_TYPE, "string");
    let parameter = Message::default().message(
        PARAMETER_NON_BODY,
        &Message::default().message(NON_BODY_QUERY, &query),
    );
    Message::default().message(PARAMETERS_ITEM_PARAMETER, &parameter)
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(self, field: u8, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u8, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// A length-delimited field; all field numbers here are below 16, so their key is one byte.
    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        const LENGTH_DELIMITED: u8 = 2;
        self.0.push(field << 3 | LENGTH_DELIMITED);
        let mut length = bytes.len();
        while length >= 0x80 {
            self.0.push(low_bits(length) | 0x80);
            length >>= 7;
        }
        self.0.push(low_bits(length));
        self.0.extend_from_slice(bytes);
        self
    }
}

/// The lowest seven bits.
fn low_bits(length: usize) -> u8 {
    u8::try_from(length & 0x7f).unwrap_or(0x7f)
}
