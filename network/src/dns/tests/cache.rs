use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};

use crate::dns::answer::Answer;
use crate::dns::cache::{Cache, Question};

fn question(at: usize) -> Question {
    Question::new(
        &super::query(&format!("n{at}.example.org. A")),
        false,
        false,
    )
}

fn address(ttl: u32) -> Record {
    let data = RData::A(std::net::Ipv4Addr::LOCALHOST.into());
    Record::from_rdata(Name::root(), ttl, data)
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, minimum);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

#[test]
fn answers_are_kept_for_as_long_as_they_say() {
    use ResponseCode::{NXDomain, NoError, ServFail};
    let data = |ttls: &[u32]| Answer {
        answers: ttls.iter().map(|ttl| address(*ttl)).collect(),
        ..Answer::code(NoError)
    };
    let no = |code, ttl, minimum| Answer {
        authorities: vec![soa(ttl, minimum)],
        ..Answer::code(code)
    };
    let cases = [
        ("an address", data(&[30]), 30),
        ("the shortest counts", data(&[30, 7]), 7),
        ("not to be kept", data(&[0]), 0),
        ("very long", data(&[900_000]), 3600),
        ("no such name", no(NXDomain, 40, 20), 20),
        ("no such name, for long", no(NXDomain, 9000, 9000), 60),
        ("no such name, who says so", Answer::code(NXDomain), 0),
        ("nothing of the type", no(NoError, 10, 20), 10),
        ("a failure", no(ServFail, 10, 20), 0),
    ];
    for (case, answer, seconds) in cases {
        keeps(case, &answer, seconds);
    }
}

/// An answer is kept for so many seconds, and grows older while it is.
fn keeps(case: &str, answer: &Answer, seconds: u64) {
    let (mut cache, now) = (Cache::default(), Instant::now());
    cache.put(question(0), answer, now);
    let at = |after: u64| now + Duration::from_secs(after);
    assert_eq!(
        cache.get(&question(0), now).is_some(),
        seconds > 0,
        "{case}"
    );
    assert!(cache.get(&question(0), at(seconds)).is_none(), "{case}");
    assert!(
        cache.get(&question(1), now).is_none(),
        "{case}: another question"
    );
    let Some(age) = seconds.checked_sub(1) else {
        return;
    };
    let kept = cache.get(&question(0), at(age)).unwrap();
    let ttls = |answer: &Answer| -> Vec<u32> {
        let all = answer.answers.iter().chain(&answer.authorities);
        all.map(|record| record.ttl).collect()
    };
    let age = u32::try_from(age).unwrap();
    let expected: Vec<u32> = ttls(answer).iter().map(|ttl| ttl - age).collect();
    assert_eq!(ttls(&kept), expected, "{case}: it has aged");
}

#[test]
fn the_cache_has_a_bound() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let answer = Answer {
        answers: vec![address(30)],
        ..Answer::code(ResponseCode::NoError)
    };
    for at in 0..10_000 {
        cache.put(question(at), &answer, now);
        assert!(
            cache.get(&question(at), now).is_some(),
            "the newest is kept"
        );
    }
    assert!(cache.len() <= 4096, "{}", cache.len());
    let big = Answer {
        answers: vec![address(30); 100],
        ..answer
    };
    cache.put(question(10_001), &big, now);
    assert!(
        cache.get(&question(10_001), now).is_none(),
        "too big to be kept"
    );
}
