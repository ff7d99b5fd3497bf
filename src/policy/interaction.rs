//! Whether something is said now: quiet hours of a person, silence for what is not important, a hint unasked.
//!
//! What a person asked for is always answered, and what is P0 or P1 is never kept from anybody. Time comes from outside.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Source;
use crate::domain::{Audit, Level, Policy, Problem, Wall};

/// Longest hint, characters.
const HINT: usize = 72;

/// How much it matters that something is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// It can be read later.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Now.
    High,
}

impl Priority {
    /// In records.
    pub fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }
}

/// Quiet hours, silence and hints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Between these times of day nothing is said that nobody asked for, P0 and P1 apart: as in "22:00-07:00"; empty:
    /// never. A device may have its own (`voxgate device set ID --quiet-hours`). Default "".
    pub quiet_hours: String,
    /// IANA time zone of quiet hours, as in "Europe/Berlin"; empty is the machine's. A device may have its own
    /// (`voxgate device set ID --timezone`). Default "".
    pub timezone: String,
    /// Who is not heard with what has low priority, whatever the time: `voice_reply`, `vision_reply`, `task_update`,
    /// `operator`. Default `["task_update"]`.
    pub silent_sources: Vec<String>,
    /// Add a short hint to answers of these sources, on devices with the profile `cane`. Default `["vision_reply"]`.
    pub proactive_sources: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet_hours: String::new(),
            timezone: String::new(),
            silent_sources: vec![Source::TaskUpdate.name().to_owned()],
            proactive_sources: vec![Source::VisionReply.name().to_owned()],
        }
    }
}

/// From one time of day to another, over midnight where the second is the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    to: Time,
}

impl QuietHours {
    /// Reads `22:00-07:00`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let complaint = || format!("{text:?} are no quiet hours: write them as in \"22:00-07:00\"");
        let (from, to) = text.trim().split_once('-').ok_or_else(complaint)?;
        let (from, to) = (time(from).ok_or_else(complaint)?, time(to).ok_or_else(complaint)?);
        if from == to {
            return Err(format!("{text:?} begin when they end: leave them out for never"));
        }
        Ok(Self { from, to })
    }

    /// The time is within them; the end is not.
    fn hold(self, now: Time) -> bool {
        if self.from < self.to { self.from <= now && now < self.to } else { now >= self.from || now < self.to }
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| (text.len() <= 2).then(|| text.parse::<i8>().ok()).flatten();
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// A time zone's name is known.
pub fn check_timezone(name: &str) -> Result<(), String> {
    let known = name.is_empty() || TimeZone::get(name).is_ok();
    let complaint = || format!("{name:?} is not in the time zone database: use an IANA name as in \"Europe/Berlin\"");
    known.then_some(()).ok_or_else(complaint)
}

/// What is to be said, and when.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment<'a> {
    /// Who says it.
    pub source: Source,
    /// Somebody asked for it just now.
    pub asked: bool,
    /// How much it matters.
    pub priority: Priority,
    /// How grave it is, by the safety policy.
    pub level: Level,
    /// The safety policy said something else in its place.
    pub downgraded: bool,
    /// Hints are wanted: the profile `cane`.
    pub hints: bool,
    /// The language that is spoken.
    pub language: Option<&'a str>,
    /// Now; 0 where that is not known: then it is not night.
    pub now: Wall,
    /// Quiet hours of the device or its person; none: those of the configuration.
    pub quiet_hours: Option<&'a str>,
    /// Its time zone; none: that of the configuration.
    pub timezone: Option<&'a str>,
}

/// Why nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It can be read later.
    LowPriority,
    /// It is night there.
    QuietHours,
}

impl Silence {
    /// In records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Silence::LowPriority => "silent_low_priority",
            Silence::QuietHours => "silent_quiet_hours",
        }
    }
}

/// Whether it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Speak {
        /// To be added, in the language that is spoken.
        hint: Option<String>,
    },
    /// It is not.
    Silent(Silence),
}

impl Verdict {
    /// For the lifelog, where it changed anything.
    pub fn audit(&self, moment: &Moment<'_>, text: &str) -> Option<Audit> {
        let (suppressed, reason, hint) = match self {
            Verdict::Silent(why) => (true, Some(why.name()), None),
            Verdict::Speak { hint: Some(hint) } => (false, None, Some(hint)),
            Verdict::Speak { hint: None } => return None,
        };
        let body = json!({
            "text": text, "source": moment.source.name(), "priority": moment.priority.name(),
            "risk_level": moment.level.name(), "suppressed": suppressed, "reason": reason, "proactive_hint": hint,
        });
        Some(Audit { policy: Policy::Interaction, body })
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.quiet_hours.is_empty()
            && let Err(what) = QuietHours::parse(&self.quiet_hours)
        {
            let remedy = "use \"22:00-07:00\", or \"\" for never";
            problems.push(Problem::new(format!("{path}.quiet_hours"), what, remedy));
        }
        if let Err(what) = check_timezone(&self.timezone) {
            let remedy = "use an IANA name, or \"\" for the machine's";
            problems.push(Problem::new(format!("{path}.timezone"), what, remedy));
        }
        for (key, sources) in [("silent_sources", &self.silent_sources), ("proactive_sources", &self.proactive_sources)]
        {
            for name in sources.iter().filter(|name| !Source::ALL.iter().any(|source| source.name() == **name)) {
                let what = format!("{name:?} is no source");
                let known = Source::ALL.map(Source::name).join(", ");
                problems.push(Problem::new(format!("{path}.{key}"), what, format!("use any of {known}")));
            }
        }
        problems
    }

    /// Decides; `hint` is what the language has for a hint.
    pub(super) fn decide(&self, moment: &Moment<'_>, hint: &str) -> Verdict {
        let among = |sources: &[String]| sources.iter().any(|name| name == moment.source.name());
        if !moment.asked && !moment.level.is_high() && moment.priority < Priority::High {
            if moment.priority == Priority::Low && among(&self.silent_sources) {
                return Verdict::Silent(Silence::LowPriority);
            }
            if self.is_quiet(moment) {
                return Verdict::Silent(Silence::QuietHours);
            }
        }
        // who has just been told to stop needs no offer, and who is warned none beside it
        let calm = !moment.downgraded && !moment.level.is_high();
        let wanted = moment.hints && calm && among(&self.proactive_sources) && !hint.trim().is_empty();
        Verdict::Speak { hint: wanted.then(|| hint.chars().take(HINT).collect()) }
    }

    fn is_quiet(&self, moment: &Moment<'_>) -> bool {
        let hours = moment.quiet_hours.unwrap_or(&self.quiet_hours);
        let Ok(hours) = QuietHours::parse(hours) else { return false };
        let zone = moment.timezone.unwrap_or(&self.timezone);
        let zone = if zone.is_empty() { Ok(TimeZone::system()) } else { TimeZone::get(zone) };
        let at = i64::try_from(moment.now.0).ok().filter(|at| *at > 0).map(Timestamp::from_millisecond);
        match (zone, at) {
            (Ok(zone), Some(Ok(at))) => hours.hold(at.to_zoned(zone).time()),
            // without a clock or a zone nobody is kept in the dark
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    /// 2026-01-15 at this time in UTC.
    fn at(hour: u64, minute: u64) -> Wall {
        Wall(1_768_435_200_000 + (hour * 60 + minute) * 60_000)
    }

    fn night() -> Settings {
        Settings { quiet_hours: "22:00-07:00".into(), timezone: "Europe/Berlin".into(), ..Settings::default() }
    }

    fn unasked(now: Wall) -> Moment<'static> {
        Moment { source: Source::Operator, now, ..Moment::default() }
    }

    fn silent(settings: &Settings, moment: &Moment<'_>) -> bool {
        matches!(settings.decide(moment, ""), Verdict::Silent(_))
    }

    #[test]
    fn at_night_nothing_is_said_unasked_and_danger_always() {
        let settings = night();
        // Berlin is an hour ahead
        assert!(silent(&settings, &unasked(at(21, 0))) && silent(&settings, &unasked(at(5, 59))));
        assert!(!silent(&settings, &unasked(at(20, 59))) && !silent(&settings, &unasked(at(6, 0))));
        let late = unasked(at(23, 0));
        for level in [Level::P0, Level::P1] {
            assert!(!silent(&settings, &Moment { level, ..late }), "{level:?}");
        }
        assert!(!silent(&settings, &Moment { asked: true, ..late }), "who asks is answered");
        assert!(!silent(&settings, &Moment { priority: Priority::High, ..late }));
        assert!(!silent(&settings, &Moment { now: Wall(0), ..late }), "without a clock it is never night");
    }

    #[test]
    fn a_person_elsewhere_has_hours_and_a_zone_of_his_own() {
        let settings = night();
        let there = Moment { timezone: Some("Asia/Shanghai"), ..unasked(at(14, 30)) };
        assert!(silent(&settings, &there), "half past ten in the evening");
        assert!(!silent(&settings, &unasked(at(14, 30))));
        let sleeper = Moment { quiet_hours: Some("13:00-15:30"), ..unasked(at(14, 0)) };
        assert!(
            silent(&settings, &sleeper) && !silent(&settings, &Moment { quiet_hours: Some(""), ..unasked(at(23, 0)) })
        );
    }

    #[test]
    fn what_can_be_read_later_is_silent_at_any_time() {
        let settings = Settings::default();
        let task = Moment { source: Source::TaskUpdate, priority: Priority::Low, now: at(12, 0), ..Moment::default() };
        assert_eq!(settings.decide(&task, ""), Verdict::Silent(Silence::LowPriority));
        assert!(!silent(&settings, &Moment { level: Level::P1, ..task }));
        assert!(!silent(&settings, &Moment { priority: Priority::Normal, ..task }));
    }

    #[test]
    fn a_hint_is_added_to_what_a_camera_saw_but_not_beside_a_warning() {
        let settings = Settings::default();
        let seen = Moment { source: Source::VisionReply, asked: true, hints: true, ..Moment::default() };
        assert_eq!(settings.decide(&seen, "Turn."), Verdict::Speak { hint: Some("Turn.".into()) });
        for calm in [
            Moment { level: Level::P1, ..seen },
            Moment { downgraded: true, ..seen },
            Moment { hints: false, ..seen },
            Moment { source: Source::VoiceReply, ..seen },
        ] {
            assert_eq!(settings.decide(&calm, "Turn."), Verdict::Speak { hint: None });
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for bad in ["", "22-7", "22:00", "25:00-07:00", "22:00-22:00", "a:b-c:d", "22:000-07:00"] {
            assert!(QuietHours::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(QuietHours::parse(" 7:05 - 9:30 ").unwrap().to_string(), "07:05-09:30");
        let settings = Settings {
            quiet_hours: "late".into(),
            timezone: "Mars".into(),
            silent_sources: vec!["radio".into()],
            ..Settings::default()
        };
        assert_eq!(settings.check("p").len(), 3);
        assert_eq!(Settings::default().check("p"), []);
    }
}
