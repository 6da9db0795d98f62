use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use skiff_api::Object;
use skiff_engine::Write;

use super::*;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;
use crate::pki::ServerNames;
use crate::store::StoreConfig;

fn config_map(name: &str, len: usize) -> Write {
    let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": "x".repeat(len)}});
    Write::create(Object::from_value(value).unwrap())
}

fn header(keys: bool) -> Header {
    Header {
        ca_hash: "ab".repeat(32),
        time: "2026-01-02T03:04:05Z".into(),
        keys,
    }
}

fn keys() -> Keys {
    Keys {
        ca_cert: "certificate".into(),
        ca_key: "key".into(),
    }
}

async fn store(writes: Vec<Write>) -> Store {
    let config = StoreConfig {
        disk: Arc::new(MemoryDisk::new(1)),
        checkpoints: Box::new(MemoryCheckpoints::default()),
        ..StoreConfig::new(std::path::Path::new("/store"), 1)
    };
    let store = Store::open(config, Box::new(|_, _| ())).unwrap();
    store.propose(writes).await.unwrap();
    store
}

async fn sample(with_keys: bool) -> (Vec<u8>, StateAt) {
    let writes = (0..20).map(|number| config_map(&format!("c{number}"), 40));
    let store = store(writes.collect()).await;
    let at = store.state_at();
    let head = file::head(&header(with_keys), with_keys.then(keys).as_ref());
    let frames = at.frames().flat_map(|frame| frame.to_vec());
    (head.into_iter().chain(frames).collect(), at)
}

fn read(bytes: &[u8], cut: usize) -> Result<Backup, BackupError> {
    let mut reader = Reader::default();
    for piece in bytes.chunks(cut.max(1)) {
        reader.push(piece)?;
    }
    reader.finish()
}

fn bodies(at: &StateAt) -> Vec<(u64, Vec<u8>)> {
    let objects = at.state.objects();
    objects
        .map(|object| (object.revision().0, object.body().to_vec()))
        .collect()
}

#[tokio::test]
async fn a_backup_reads_back_however_it_was_cut() {
    for with_keys in [false, true] {
        let (bytes, at) = sample(with_keys).await;
        for cut in [1, 13, 1000, bytes.len()] {
            let backup = read(&bytes, cut).unwrap();
            assert_eq!(backup.header, header(with_keys));
            assert_eq!(backup.keys, with_keys.then(keys));
            assert_eq!(backup.at.mark, at.mark);
            assert_eq!(bodies(&backup.at), bodies(&at));
            assert_eq!(backup.bytes, bytes.len() as u64);
        }
    }
}

#[tokio::test]
async fn no_flipped_bit_goes_unnoticed() {
    for with_keys in [false, true] {
        let (bytes, _) = sample(with_keys).await;
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(read(&bytes, usize::MAX).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_cut_off_or_added_to_is_refused() {
    let (bytes, _) = sample(true).await;
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end], usize::MAX).is_err(), "cut at {end}");
    }
    for extra in [vec![0], vec![0; 100], bytes.clone()] {
        let longer = [bytes.clone(), extra].concat();
        assert!(read(&longer, usize::MAX).is_err());
    }
}

#[test]
fn a_wrong_file_is_told_from_a_newer_one_and_a_damaged_one() {
    let good = file::head(&header(false), None).to_vec();
    let newer = [b"skiffbak\x02\0\0\0".as_slice(), &good[12..]].concat();
    let mut damaged = good.clone();
    damaged[30] ^= 1;
    let cases: [(&str, &[u8], &str); 6] = [
        ("nothing", b"", "it is not a backup of skiff"),
        (
            "a part of the letters",
            b"skiff",
            "it is not a backup of skiff",
        ),
        ("another file", b"PK\x03\x04", "it is not a backup of skiff"),
        (
            "a newer one",
            &newer,
            "it has format 2, and this version of skiff reads format 1 only",
        ),
        (
            "a damaged one",
            &damaged,
            "the backup is damaged: its header cannot be read; use another one",
        ),
        (
            "one without a state",
            &good,
            "the backup is damaged or was cut off; use another one",
        ),
    ];
    for (name, bytes, expected) in cases {
        let err = read(bytes, usize::MAX).unwrap_err();
        assert_eq!(err.to_string(), expected, "{name}");
    }
}

#[test]
fn keys_are_not_shown_when_they_are_printed() {
    assert!(!format!("{:?}", keys()).contains("key\""));
}

proptest! {
    #[test]
    fn nothing_from_outside_makes_it_panic(bytes: Vec<u8>, cut in 1_usize..50) {
        let bytes = [file::head(&header(true), None).to_vec(), bytes].concat();
        prop_assert!(read(&bytes, cut).is_err());
    }
}

/// A router over a store with some objects, as the listener hands requests to it.
struct Server {
    store: Store,
    pki: Arc<Pki>,
    service: TowerToHyperService<Router>,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn new() -> Self {
        let writes = (0..300).map(|number| config_map(&format!("c{number}"), 4000));
        let store = store(writes.collect()).await;
        let dir = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(dir.path(), &ServerNames::default()).unwrap());
        let service = TowerToHyperService::new(router(store.clone(), pki.clone()));
        Self {
            store,
            pki,
            service,
            _dir: dir,
        }
    }

    async fn get(&self, query: &str, group: Option<&str>) -> Response {
        let uri = format!("{PATH}{query}");
        let mut request = http::Request::get(uri).body(Body::empty()).unwrap();
        if let Some(group) = group {
            let who = Identity {
                user: "somebody".into(),
                groups: vec![group.into()],
            };
            request.extensions_mut().insert(who);
        }
        self.service.call(request).await.unwrap()
    }
}

#[tokio::test]
async fn the_stream_is_one_state_though_writes_go_on() {
    let server = Server::new().await;
    let before = bodies(&server.store.state_at());
    let mut body = server.get("", Some("system:masters")).await.into_body();
    let mut bytes = body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap()
        .to_vec();
    let later = (0..50).map(|number| config_map(&format!("later{number}"), 10));
    server.store.propose(later.collect()).await.unwrap();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let backup = read(&bytes, 1000).unwrap();
    assert_eq!(bodies(&backup.at), before);
    assert_eq!(backup.at.mark.revision, backup.at.state.revision().0);
    assert_eq!(backup.header.ca_hash, server.pki.ca_hash());
    assert_eq!(backup.keys, None);
}

#[tokio::test]
async fn the_keys_come_only_when_asked_for_and_fit() {
    let server = Server::new().await;
    let body = server
        .get("?keys=true", Some("system:masters"))
        .await
        .into_body();
    let bytes = body.collect().await.unwrap().to_bytes();
    let keys = read(&bytes, usize::MAX).unwrap().keys.unwrap();
    keys.check(&server.pki.ca_hash()).unwrap();
    let other = keys.check(&"00".repeat(32)).unwrap_err().to_string();
    assert!(other.contains("another"), "{other}");
}

#[tokio::test]
async fn only_administrators_get_one_and_only_some_at_a_time() {
    let server = Server::new().await;
    let masters = Some("system:masters");
    let refused = [
        ("", None, 401),
        ("", Some("system:nodes"), 403),
        ("", Some("system:servers"), 403),
        ("?keys=yes", masters, 400),
        ("?what", masters, 400),
    ];
    for (query, group, code) in refused {
        let answer = server.get(query, group).await;
        assert_eq!(answer.status().as_u16(), code, "{query} {group:?}");
    }
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        open.push(server.get("", masters).await);
    }
    let refused = server.get("", masters).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    open.pop();
    assert_eq!(server.get("", masters).await.status().as_u16(), 200);
}
