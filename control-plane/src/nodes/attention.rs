//! Whether this server listened all the time. A process that was stopped, or a machine that slept,
//! finds everybody silent when it goes on, though their heartbeats wait in its sockets: it must
//! listen anew before it judges anybody. Pure: times are arguments, counted from the server's
//! start.

use std::time::Duration;

use skiff_engine::plan::Heartbeats;

/// The server looks at its clock so often.
pub const PACE: Duration = Duration::from_millis(250);

/// More time than this between two looks is a pause: four looks were missed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the looks at the clock have shown.
#[derive(Debug, Default)]
pub struct Attention {
    looked: Duration,
    /// Since when there was no pause.
    since: Duration,
    /// The length of all pauses.
    paused: Duration,
}

impl Attention {
    /// Looks at the clock.
    pub fn look(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.looked);
        if gap > PAUSE {
            self.since = now;
            self.paused += gap;
        }
        self.looked = self.looked.max(now);
    }

    /// What this server heard, given when it heard each node last. Silence counts from the last
    /// pause at the earliest; pauses are no time of listening.
    pub fn heartbeats(
        &mut self,
        now: Duration,
        heard: impl Iterator<Item = (String, Duration)>,
    ) -> Heartbeats {
        self.look(now);
        let silence = |heard: Duration| now.saturating_sub(heard.max(self.since));
        Heartbeats {
            silent: heard.map(|(node, at)| (node, silence(at))).collect(),
            listening: now.saturating_sub(self.paused),
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_engine::plan::SILENT_AFTER;

    use super::*;
    use crate::loops::{RECONNECT, heard_since};

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks at the clock all the time but in the given pauses, is elected, and says at last
    /// whether a node counts as lost.
    fn is_lost(heard: Option<u64>, elected: u64, pauses: &[(u64, u64)], now: u64) -> bool {
        let mut attention = Attention::default();
        let heard = || heard.map(|at| ("n1".to_owned(), millis(at))).into_iter();
        let mut since = None;
        let paused = |time: &u64| pauses.iter().any(|(from, to)| time > from && time < to);
        for time in (0..now).step_by(50).filter(|time| !paused(time)) {
            let time_now = millis(time);
            attention.look(time_now);
            if time >= elected && since.is_none() {
                let heartbeats = attention.heartbeats(time_now, heard());
                since = Some(heartbeats.listening + RECONNECT);
            }
        }
        let heartbeats = attention.heartbeats(millis(now), heard());
        let heartbeats = heard_since(heartbeats, since.expect("elected before the end"));
        heartbeats.silence("n1") >= SILENT_AFTER
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn nodes_are_judged_by_what_this_server_heard() {
        let never = None;
        type Row<'a> = (&'a str, Option<u64>, u64, &'a [(u64, u64)], u64, bool);
        let cases: [Row<'_>; 13] = [
            // name, heard at, elected at, pauses, now, lost
            ("it beats", Some(99_500), 50_000, &[], 100_000, false),
            ("it fell silent", Some(96_000), 50_000, &[], 100_000, true),
            // A server and an agent on one machine die together: the next leader has heard the
            // agent until then.
            (
                "heard until the last leader died",
                Some(96_000),
                97_200,
                &[],
                100_000,
                true,
            ),
            (
                "not silent for long enough",
                Some(96_100),
                97_200,
                &[],
                100_000,
                false,
            ),
            (
                "silent since long before the election",
                Some(60_000),
                99_900,
                &[],
                100_000,
                true,
            ),
            (
                "never heard, just elected",
                never,
                99_000,
                &[],
                100_000,
                false,
            ),
            (
                "never heard, time to dial",
                never,
                86_100,
                &[],
                100_000,
                false,
            ),
            (
                "never heard, no more time",
                never,
                86_000,
                &[],
                100_000,
                true,
            ),
            ("never heard, just started", never, 0, &[], 13_900, false),
            (
                "this server was stopped: nobody is judged by that",
                Some(60_000),
                50_000,
                &[(60_000, 99_000)],
                100_000,
                false,
            ),
            (
                "it listened anew, and heard nothing",
                Some(60_000),
                50_000,
                &[(60_000, 95_900)],
                100_000,
                true,
            ),
            (
                "it was stopped before it was elected",
                Some(60_000),
                98_000,
                &[(60_000, 97_000)],
                100_000,
                false,
            ),
            (
                "a node that nobody heard gets no less time for a pause",
                never,
                50_000,
                &[(55_000, 98_000)],
                100_000,
                false,
            ),
        ];
        for (name, heard, elected, pauses, now, expected) in cases {
            assert_eq!(is_lost(heard, elected, pauses, now), expected, "{name}");
        }
    }

    #[test]
    fn a_busy_machine_is_no_pause() {
        let mut attention = Attention::default();
        for time in (0..10_000).step_by(1000) {
            attention.look(millis(time));
        }
        let heard = [("n1".to_owned(), millis(5000))].into_iter();
        let heartbeats = attention.heartbeats(millis(10_000), heard);
        assert_eq!(heartbeats.silence("n1"), millis(5000));
        assert_eq!(heartbeats.listening, millis(10_000));
    }
}
