use std::str::FromStr as _;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;
use serde_json::{Value, json};
use skiff_api::Kind;
use skiff_client::Event;

use super::Settings;
use super::answer::{Answer, Decision, answer};
use super::records::Records;
use super::wire::{self, Transport, Unread};
use crate::Catalog;

mod cache;
mod files;
mod upstream;

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn slice(of: &str, ports: &Value, endpoints: &Value) -> Value {
    json!({"addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        "metadata": {"name": format!("{of}-a"), "namespace": "shop", "resourceVersion": "7",
            "labels": {"kubernetes.io/service-name": of}}})
}

fn records() -> Records {
    let http = json!([{"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "gossip", "port": 7946, "protocol": "UDP"}]);
    let at = |ip: &str, ready: bool| json!({"addresses": [ip], "conditions": {"ready": ready}});
    let named = |ip: &str, name: &str| json!({"addresses": [ip], "hostname": name});
    let web = json!([{"name": "web", "port": 8080}]);
    let services = vec![
        service("cart", json!({"clusterIP": "10.43.0.9", "ports": http})),
        service(
            "six",
            json!({"clusterIP": "10.43.0.6", "clusterIPs": ["10.43.0.6", "fd00::6"]}),
        ),
        service("db", json!({"clusterIP": "None"})),
        service("empty", json!({"clusterIP": "None"})),
        service(
            "early",
            json!({"clusterIP": "None", "publishNotReadyAddresses": true}),
        ),
        service(
            "outside",
            json!({"type": "ExternalName", "externalName": "example.org."}),
        ),
        service(
            "alias",
            json!({"type": "ExternalName", "externalName": "cart.shop.svc.cluster.local"}),
        ),
        service(
            "astray",
            json!({"type": "ExternalName", "externalName": "no.shop.svc.cluster.local"}),
        ),
        service(
            "circle",
            json!({"type": "ExternalName", "externalName": "circle.shop.svc.cluster.local"}),
        ),
    ];
    let slices = vec![
        slice("cart", &web, &json!([at("10.42.0.5", true)])),
        slice(
            "db",
            &web,
            &json!([
                named("10.42.0.2", "db-0"),
                at("10.42.0.3", true),
                at("10.42.0.4", false)
            ]),
        ),
        slice("empty", &web, &json!([at("10.42.0.7", false)])),
        slice("early", &web, &json!([at("10.42.0.8", false)])),
    ];
    let mut catalog = Catalog::default();
    catalog.apply(Kind::Service, Event::Restarted(services));
    catalog.apply(Kind::EndpointSlice, Event::Restarted(slices));
    catalog.synced = true;
    Records::of(&catalog)
}

fn settings() -> Settings {
    Settings {
        domain: "cluster.local".into(),
        address: "10.42.0.1".parse().unwrap(),
        ranges: ["10.42.0.0/16", "10.43.0.0/16"]
            .map(|range| range.parse().unwrap())
            .to_vec(),
    }
}

fn query(line: &str) -> Query {
    let (name, kind) = line.split_once(' ').unwrap();
    let name = name.replace("SVC", "shop.svc.cluster.local.");
    Query::query(
        Name::from_ascii(name).unwrap(),
        RecordType::from_str(kind).unwrap(),
    )
}

fn data(record: &Record) -> String {
    let text = if let RData::SRV(srv) = &record.data {
        format!("SRV {}:{}", srv.target, srv.port)
    } else {
        format!("{} {}", record.record_type(), record.data)
    };
    text.replace("shop.svc.cluster.local.", "SVC")
}

fn told(answer: &Answer) -> String {
    let codes = [
        (ResponseCode::NXDomain, "no such name"),
        (ResponseCode::ServFail, "failure"),
        (ResponseCode::Refused, "refused"),
    ];
    let code = codes.iter().find(|(code, _)| *code == answer.code);
    let mut parts: Vec<String> = code
        .map(|(_, word)| (*word).to_owned())
        .into_iter()
        .collect();
    parts.extend(answer.answers.iter().map(data));
    if parts.is_empty() {
        parts.push("NODATA".into());
    }
    let more = answer.additionals.iter();
    parts.extend(more.map(|record| format!("+{}", data(record))));
    parts.join(", ")
}

fn ask(records: &Records, line: &str) -> String {
    match answer(records, &settings(), &query(line), 0) {
        Decision::Answer(answer) => told(&answer),
        Decision::Continue(begun, name) => format!("{}, then {name}", told(&begun)),
        Decision::Forward => "forward".into(),
    }
}

/// What is asked and what is answered, with `SVC` for `shop.svc.cluster.local.`
const NAMES: &str = "\
a service                       | cart.SVC A                          | A 10.43.0.9
in capitals                     | CART.Shop.Svc.Cluster.Local. A      | A 10.43.0.9
of no such family               | cart.SVC AAAA                       | NODATA
of another type                 | cart.SVC TXT                        | NODATA
of both families                | six.SVC AAAA                        | AAAA fd00::6
whatever there is               | cart.SVC ANY                        | A 10.43.0.9
no such service                 | user.SVC A                          | no such name
no such service, other type     | user.SVC AAAA                       | no such name
headless                        | db.SVC A                            | A 10.42.0.2, A 10.42.0.3
headless, other family          | db.SVC AAAA                         | NODATA
headless, nobody ready          | empty.SVC A                         | no such name
headless, not waiting for ready | early.SVC A                         | A 10.42.0.8
an endpoint by name             | db-0.db.SVC A                       | A 10.42.0.2
an endpoint by address          | 10-42-0-3.db.SVC A                  | A 10.42.0.3
by address though named         | 10-42-0-2.db.SVC A                  | A 10.42.0.2
not ready                       | 10-42-0-4.db.SVC A                  | no such name
of no such name                 | db-1.db.SVC A                       | no such name
of a service with an address    | 10-42-0-5.cart.SVC A                | A 10.42.0.5
a port                          | _http._tcp.cart.SVC SRV             | SRV cart.SVC:80, +A 10.43.0.9
a UDP port                      | _gossip._udp.cart.SVC SRV           | SRV cart.SVC:7946, +A 10.43.0.9
of the wrong transport          | _http._udp.cart.SVC SRV             | no such name
a port's address                | _http._tcp.cart.SVC A               | NODATA
a transport that has ports      | _tcp.cart.SVC SRV                   | NODATA
a transport without             | _sctp.cart.SVC SRV                  | no such name
not written as a port           | http.tcp.cart.SVC SRV               | no such name
a headless port                 | _web._tcp.db.SVC SRV                | SRV db-0.db.SVC:8080, SRV 10-42-0-3.db.SVC:8080, +A 10.42.0.2, +A 10.42.0.3
a headless port, nobody ready   | _web._tcp.empty.SVC SRV             | no such name
a name outside                  | outside.SVC A                       | CNAME example.org., then example.org.
only its alias                  | outside.SVC CNAME                   | CNAME example.org.
a name inside                   | alias.SVC A                         | CNAME cart.SVC, A 10.43.0.9
a name inside that is not       | astray.SVC A                        | no such name, CNAME no.SVC
a circle                        | circle.SVC A                        | failure
a pod                           | 10-42-0-5.shop.pod.cluster.local. A | A 10.42.0.5
a pod without address           | cart-1.shop.pod.cluster.local. A    | no such name
a namespace                     | SVC A                               | NODATA
no such namespace               | user.svc.cluster.local. A           | no such name
between                         | svc.cluster.local. A                | NODATA
the domain                      | cluster.local. A                    | NODATA
a miss of the search list       | example.com.SVC A                   | no such name
a deep miss of the search list  | a.b.c.example.com.SVC A             | no such name
a miss just below               | example.com.cluster.local. A        | no such name
the schema                      | dns-version.cluster.local. TXT      | TXT 1.1.0
the server                      | cluster.local. NS                   | NS ns.dns.cluster.local., +A 10.42.0.1
its address                     | ns.dns.cluster.local. A             | A 10.42.0.1
the zone                        | cluster.local. AXFR                 | refused
an address of a service         | 9.0.43.10.in-addr.arpa. PTR         | PTR cart.SVC
an address of an endpoint       | 2.0.42.10.in-addr.arpa. PTR         | PTR db-0.db.SVC
without a name of its own       | 3.0.42.10.in-addr.arpa. PTR         | PTR 10-42-0-3.db.SVC
something else of an address    | 9.0.43.10.in-addr.arpa. TXT         | NODATA
nobody's address of ours        | 99.0.43.10.in-addr.arpa. PTR        | no such name
somebody's address              | 1.1.168.192.in-addr.arpa. PTR       | forward
part of an address              | 43.10.in-addr.arpa. NS              | forward
somebody's name                 | example.com. A                      | forward
a name that only ends alike     | mycluster.local. A                  | forward
";

#[test]
fn names_are_answered_as_kubernetes_specifies() {
    let records = records();
    for row in NAMES.lines() {
        let mut cells = row.split('|').map(str::trim);
        let mut cell = || cells.next().unwrap();
        let (case, question, expected) = (cell(), cell(), cell());
        assert_eq!(ask(&records, question), expected, "{case}: {question}");
    }
}

#[test]
fn nothing_is_denied_before_everything_is_known() {
    let mut records = records();
    records.complete = false;
    let cases = [
        ("user.SVC A", "failure"),
        ("99.0.43.10.in-addr.arpa. PTR", "failure"),
        ("cluster.local. A", "NODATA"),
        ("example.com. A", "forward"),
    ];
    for (question, expected) in cases {
        assert_eq!(ask(&records, question), expected, "{question}");
    }
}

#[test]
fn a_no_says_for_how_long() {
    for (question, owner) in [
        ("user.SVC A", "cluster.local."),
        ("cart.SVC AAAA", "cluster.local."),
        ("99.0.43.10.in-addr.arpa. PTR", "43.10.in-addr.arpa."),
        ("9.0.43.10.in-addr.arpa. TXT", "43.10.in-addr.arpa."),
    ] {
        let Decision::Answer(answer) = answer(&records(), &settings(), &query(question), 0) else {
            panic!("{question} is answered here");
        };
        let [soa] = answer.authorities.as_slice() else {
            panic!("{question}: no SOA");
        };
        assert_eq!(soa.name.to_string(), owner, "{question}");
        let RData::SOA(data) = &soa.data else {
            panic!("{question}: {soa}");
        };
        assert_eq!((soa.ttl, data.minimum), (5, 5), "{question}");
    }
}

#[test]
fn endpoints_take_turns() {
    let records = records();
    let first = |turn| {
        let decision = answer(&records, &settings(), &query("db.SVC A"), turn);
        let Decision::Answer(answer) = decision else {
            panic!("{decision:?}");
        };
        data(&answer.answers[0])
    };
    assert_eq!(
        [first(0), first(1), first(2)],
        ["A 10.42.0.2", "A 10.42.0.3", "A 10.42.0.2"]
    );
}

#[test]
fn a_service_that_goes_takes_its_names_with_it() {
    let mut records = records();
    records.remove("shop", "cart");
    records.remove("shop", "cart");
    let no = "no such name";
    for question in [
        "cart.SVC A",
        "9.0.43.10.in-addr.arpa. PTR",
        "5.0.42.10.in-addr.arpa. PTR",
    ] {
        assert_eq!(ask(&records, question), no, "{question}");
    }
    assert_eq!(ask(&records, "db-0.db.SVC A"), "A 10.42.0.2");
}

fn packet(line: &str, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.add_query(query(line));
    if let Some(payload) = payload {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// An answer of so many addresses.
fn many(count: u32) -> Answer {
    let owner = query("db.SVC A").name().clone();
    let address = |at: u32| RData::A(std::net::Ipv4Addr::from(at).into());
    Answer {
        answers: (0..count)
            .map(|at| Record::from_rdata(owner.clone(), 5, address(at)))
            .collect(),
        ..Answer::code(ResponseCode::NoError)
    }
}

#[test]
fn answers_fit_into_what_the_client_takes() {
    use Transport::{Tcp, Udp};
    let cases = [
        // how it was asked, the client's room, addresses, whether they fit, the bound
        ("few", Udp, None, 10, true, 512),
        ("many", Udp, None, 100, false, 512),
        ("many with room", Udp, Some(1232), 60, true, 1232),
        ("too many with room", Udp, Some(4096), 500, false, 1232),
        ("a room too small to be meant", Udp, Some(1), 20, true, 512),
        ("on a connection", Tcp, None, 1000, true, 65535),
        (
            "too many for a connection",
            Tcp,
            Some(1232),
            9000,
            false,
            65535,
        ),
    ];
    for (case, transport, payload, count, fits, bound) in cases {
        let asked = wire::read(&packet("db.SVC A", payload), transport).unwrap();
        let bytes = asked.reply(many(count), true).unwrap();
        assert!(bytes.len() <= bound, "{case}: {}", bytes.len());
        let reply = Message::from_bytes(&bytes).unwrap();
        assert_eq!(reply.metadata.truncation, !fits, "{case}");
        assert_eq!(reply.answers.len() == count as usize, fits, "{case}");
        assert!(reply.answers.len() >= 10, "{case}: what fits is sent");
        assert_eq!(reply.edns.is_some(), payload.is_some(), "{case}");
        assert_eq!((reply.metadata.id, reply.queries.len()), (77, 1), "{case}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_never_the_end() {
    let good = packet("cart.SVC A", Some(1232));
    let code = |bytes: &[u8]| match wire::read(bytes, Transport::Udp) {
        Ok(_) => "read".to_owned(),
        Err(Unread::Ignore) => "ignored".to_owned(),
        Err(Unread::Refuse(bytes)) => {
            let reply = Message::from_bytes(&bytes).unwrap();
            assert_eq!(reply.metadata.message_type, MessageType::Response);
            assert_eq!(reply.metadata.id, 77);
            reply.metadata.response_code.to_string()
        }
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(code(&good), "read");
    assert_eq!(code(&[]), "ignored");
    assert_eq!(code(&good[..11]), "ignored");
    assert_eq!(
        code(&good[..12]),
        "Form Error",
        "a header that promises more"
    );
    assert_eq!(code(&with(2, 0x80)), "ignored", "an answer");
    assert_eq!(code(&with(2, 0x28)), "Not Implemented", "an update");
    assert_eq!(code(&with(5, 0)), "Form Error", "no question");
    assert_eq!(code(&with(5, 2)), "Form Error", "two questions");
    assert_eq!(
        code(&with(12, 0xc0)),
        "Form Error",
        "a name that points at itself"
    );
    for cut in 12..good.len() {
        assert_eq!(code(&good[..cut]), "Form Error", "cut at {cut}");
    }
}

#[test]
fn no_packet_brings_the_reader_down() {
    let good = packet("_http._tcp.cart.SVC SRV", Some(1232));
    for at in 0..good.len() {
        for byte in [0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            if let Ok(asked) = wire::read(&bytes, Transport::Udp) {
                let decision = answer(&records(), &settings(), &asked.query, at);
                if let Decision::Answer(answer) = decision {
                    asked.reply(answer, true).unwrap();
                }
            }
        }
    }
}
