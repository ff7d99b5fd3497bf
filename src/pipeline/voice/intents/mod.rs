//! What can be answered without a model: in well under a millisecond, and never wrong by guesswork.
//!
//! English so far. An intent matches whole shapes of questions, not single words: what is not
//! surely understood goes on to the chat model. What the gateway cannot do (timers, lights, news) is
//! said plainly here, because a small model would claim to have done it.

mod arithmetic;
pub(super) mod device;
mod numbers;

use jiff::Zoned;

/// What an intent may know.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now, in the zone of the device.
    pub now: Zoned,
    /// What the person said before this.
    pub last_said: Option<&'a str>,
    /// What the gateway answered before this.
    pub last_reply: Option<&'a str>,
}

/// An answer that needs no model.
pub fn answer(said: &str, facts: &Facts<'_>) -> Option<String> {
    let plain = plain(said);
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let words = without_courtesy(&words);
    if words.is_empty() || words.len() > 16 {
        return None;
    }
    let text = words.join(" ");
    clock(&text, &facts.now)
        .or_else(|| memory(&text, facts))
        .or_else(|| smalltalk(&text))
        .or_else(|| arithmetic::answer(&text))
        .or_else(|| cannot(&text))
}

/// Lower case, punctuation gone but for what numbers need.
fn plain(said: &str) -> String {
    let chars: Vec<char> = said.to_lowercase().replace(['’', '‘'], "'").chars().collect();
    let mut out = String::with_capacity(chars.len());
    for (at, &c) in chars.iter().enumerate() {
        let digit = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
        let inside_number = digit(at.checked_sub(1)) && digit(Some(at + 1));
        match c {
            ',' if inside_number => {}
            '.' if inside_number => out.push('.'),
            '-' if !digit(Some(at + 1)) || (at > 0 && chars[at - 1].is_alphabetic()) => out.push(' '),
            c if c.is_alphanumeric() || "'+*/%^-=×÷".contains(c) => out.push(c),
            _ => out.push(' '),
        }
    }
    out
}

fn without_courtesy<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    const BEFORE: [&[&str]; 8] = [
        &["please"],
        &["hey"],
        &["ok"],
        &["okay"],
        &["so"],
        &["can", "you", "tell", "me"],
        &["could", "you", "tell", "me"],
        &["tell", "me"],
    ];
    const AFTER: [&[&str]; 4] = [&["please"], &["right", "now"], &["now"], &["then"]];
    let mut words = words;
    while let Some(polite) = BEFORE.iter().find(|polite| words.starts_with(polite)) {
        words = &words[polite.len()..];
    }
    while let Some(polite) = AFTER.iter().find(|polite| words.ends_with(polite)) {
        words = &words[..words.len() - polite.len()];
    }
    words
}

fn clock(text: &str, now: &Zoned) -> Option<String> {
    match text {
        "what time is it"
        | "what's the time"
        | "what is the time"
        | "what time it is"
        | "the time"
        | "time"
        | "what is the current time"
        | "what's the current time"
        | "do you know what time it is"
        | "do you have the time" => Some(spoken_time(now)),
        "what day is it"
        | "what day is it today"
        | "what day is today"
        | "which day is it"
        | "what's today"
        | "what day of the week is it" => Some(format!("It's {}.", now.strftime("%A"))),
        "what's the date"
        | "what is the date"
        | "what's the date today"
        | "what is the date today"
        | "what is today's date"
        | "what's today's date"
        | "what date is it"
        | "what date is it today"
        | "the date" => Some(format!("It's {}.", now.strftime("%A, %B %-d, %Y"))),
        "what day is tomorrow" | "what day is it tomorrow" => {
            let tomorrow = now.tomorrow().ok()?;
            Some(format!("Tomorrow is {}.", tomorrow.strftime("%A")))
        }
        "what year is it" => Some(format!("It's {}.", now.year())),
        "what month is it" => Some(format!("It's {}.", now.strftime("%B"))),
        _ => None,
    }
}

fn spoken_time(now: &Zoned) -> String {
    let half = if now.hour() < 12 { "AM" } else { "PM" };
    let hour = match now.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match now.minute() {
        0 => format!("It's {hour} o'clock {half}."),
        minute => format!("It's {hour}:{minute:02} {half}."),
    }
}

fn memory(text: &str, facts: &Facts<'_>) -> Option<String> {
    match text {
        "what did i say" | "what did i just say" | "what did i ask" | "what did i just ask" | "what have i said" => {
            Some(facts.last_said.map_or_else(
                || "You haven't said anything before this.".to_owned(),
                |said| format!("You said: {said}"),
            ))
        }
        "what did you say"
        | "what did you just say"
        | "say that again"
        | "say it again"
        | "repeat that"
        | "can you repeat that"
        | "could you repeat that"
        | "repeat"
        | "again" => {
            Some(facts.last_reply.map_or_else(|| "I haven't said anything before this.".to_owned(), str::to_owned))
        }
        _ => None,
    }
}

fn smalltalk(text: &str) -> Option<String> {
    let answer = match text {
        "hello" | "hi" | "good morning" | "good afternoon" | "good evening" | "hello there" | "hi there" => {
            "Hello! How can I help?"
        }
        "thank you" | "thanks" | "thank you very much" | "thanks a lot" => "You're welcome.",
        "who are you" | "what are you" | "what's your name" | "what is your name" => {
            "I'm Voxgate, the voice of this gateway."
        }
        "what can you do" | "what can i ask you" | "help" => {
            "I can tell you the time and the date, do sums, repeat what was said, and chat a little. \
             With a bigger model configured I can do more."
        }
        "can you hear me" | "are you there" | "do you hear me" | "is anybody there" => "Yes, I can hear you.",
        _ => return None,
    };
    Some(answer.to_owned())
}

/// Requests that need something that is not here.
fn cannot(text: &str) -> Option<String> {
    let starts = |shapes: &[&str]| shapes.iter().any(|shape| text.starts_with(shape));
    let answer = if starts(&["set a timer", "set an alarm", "set a reminder", "remind me", "wake me", "start a timer"])
    {
        "I can't set timers or reminders yet."
    } else if starts(&[
        "turn on ",
        "turn off ",
        "switch on ",
        "switch off ",
        "dim the ",
        "turn the light",
        "turn up the ",
    ]) || starts(&["turn down the ", "set the volume", "volume up", "volume down", "turn the volume"])
    {
        "I can't control that from here yet."
    } else if starts(&["what's the weather", "what is the weather", "how is the weather", "how's the weather"])
        || starts(&["will it rain", "is it going to rain", "what's the news", "what is the news", "read the news"])
    {
        "I have no source for that: I only know what is in this box."
    } else {
        return None;
    };
    Some(answer.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn facts() -> Facts<'static> {
        let now: Zoned = "2026-03-07T15:04:00[Europe/Berlin]".parse().unwrap();
        Facts { now, last_said: Some("Open the gate."), last_reply: Some("The gate is open.") }
    }

    fn ask(said: &str) -> Option<String> {
        answer(said, &facts())
    }

    #[test]
    fn the_time_and_the_date_are_the_devices() {
        assert_eq!(ask("What time is it?").unwrap(), "It's 3:04 PM.");
        assert_eq!(ask("Hey, can you tell me what time it is, please?").unwrap(), "It's 3:04 PM.");
        assert_eq!(ask("What's the date today?").unwrap(), "It's Saturday, March 7, 2026.");
        assert_eq!(ask("What day is it?").unwrap(), "It's Saturday.");
    }

    #[test]
    fn sums_are_exact() {
        for (said, answer) in [
            ("What is 12 times 7?", "84."),
            ("What's twelve times seven", "84."),
            ("How much is 1,000 divided by 8?", "125."),
            ("what is twenty-three plus nineteen", "42."),
            ("What is 10 divided by 4?", "2.5."),
            ("what is 15 percent of 80", "12."),
            ("What is two plus three times four?", "14."),
            ("what is 7 squared", "49."),
            ("what's the square root of 144", "12."),
            ("What is 5 minus 12?", "minus 7."),
            ("What is 12 x 12?", "144."),
            ("3 + 4", "7."),
        ] {
            assert_eq!(ask(said).as_deref(), Some(answer), "{said}");
        }
        assert_eq!(ask("what is 5 divided by zero").unwrap(), "Nothing can be divided by zero.");
    }

    #[test]
    fn what_was_said_is_said_again() {
        assert_eq!(ask("What did I just say?").unwrap(), "You said: Open the gate.");
        assert_eq!(ask("Say that again, please").unwrap(), "The gate is open.");
    }

    #[test]
    fn what_cannot_be_done_is_not_promised() {
        assert!(ask("Set a timer for five minutes").unwrap().contains("can't"));
        assert!(ask("Turn on the kitchen lights").unwrap().contains("can't"));
    }

    #[test]
    fn everything_else_goes_to_the_model() {
        for said in [
            "What is the capital of France?",
            "What time does the bus leave?",
            "Why is the sky blue",
            "go forward ten meters",
            "What is one of the best books?",
            "I have two dogs",
            "two",
            "",
            "?!",
            "what is plus",
            "Tell me about the battle of 1812",
        ] {
            assert_eq!(ask(said), None, "{said}");
        }
    }
}
