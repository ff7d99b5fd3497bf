//! Questions in English.

mod chance;
mod clock;
mod measure;
mod numbers;
mod sums;

use super::Facts;

/// The answer to a question in English.
pub(super) fn answer(said: &str, facts: &Facts<'_>) -> Option<String> {
    let plain = plain(said);
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let words = without_courtesy(&words);
    if words.is_empty() || words.len() > 16 {
        return None;
    }
    let text = words.join(" ");
    clock::answer(&text, &facts.now)
        .or_else(|| memory(&text, facts))
        .or_else(|| smalltalk(&text, facts))
        .or_else(|| sums::answer(&text))
        .or_else(|| measure::answer(&text))
        .or_else(|| chance::answer(&text, facts.random))
        .or_else(|| spelled(&text))
        .or_else(|| if facts.has_tools { None } else { cannot(&text) })
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
    const BEFORE: [&[&str]; 9] = [
        &["please"],
        &["hey"],
        &["ok"],
        &["okay"],
        &["so"],
        &["can", "you", "tell", "me"],
        &["could", "you", "tell", "me"],
        &["do", "you", "know"],
        &["tell", "me"],
    ];
    const AFTER: [&[&str]; 5] = [&["please"], &["for", "me"], &["right", "now"], &["now"], &["then"]];
    let mut words = words;
    while let Some(polite) = BEFORE.iter().find(|polite| words.starts_with(polite)) {
        words = &words[polite.len()..];
    }
    while let Some(polite) = AFTER.iter().find(|polite| words.ends_with(polite)) {
        words = &words[..words.len() - polite.len()];
    }
    words
}

/// What stands between a beginning and an end.
fn within<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after).filter(|inner| !inner.is_empty())
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
        | "can you say that again"
        | "could you say that again"
        | "repeat"
        | "again" => {
            Some(facts.last_reply.map_or_else(|| "I haven't said anything before this.".to_owned(), str::to_owned))
        }
        _ => None,
    }
}

fn smalltalk(text: &str, facts: &Facts<'_>) -> Option<String> {
    let answer = match text {
        "hello" | "hi" | "good morning" | "good afternoon" | "good evening" | "hello there" | "hi there" => {
            "Hello! How can I help?"
        }
        "thank you" | "thanks" | "thank you very much" | "thanks a lot" => "You're welcome.",
        "good night" => "Good night!",
        "who are you" | "what are you" | "what's your name" | "what is your name" if !facts.has_persona => {
            "I'm Voxgate, the voice of this gateway."
        }
        "what can you do" | "what can i ask you" | "help" if !facts.has_persona && !facts.has_tools => {
            "I can tell you the time and the date, here and in other cities, count days, do sums, convert units, \
             flip a coin, repeat what was said, and chat a little. With a bigger model configured I can do more."
        }
        "can you hear me" | "are you there" | "do you hear me" | "is anybody there" => "Yes, I can hear you.",
        _ => return None,
    };
    Some(answer.to_owned())
}

/// One word, letter by letter.
fn spelled(text: &str) -> Option<String> {
    const ASKS: [&str; 5] = ["how do you spell ", "how is ", "spell the word ", "spell ", "how do i spell "];
    let word = ASKS.iter().find_map(|ask| {
        let rest = text.strip_prefix(ask)?;
        if *ask == "how is " { rest.strip_suffix(" spelled") } else { Some(rest) }
    })?;
    let is_word = (2..=20).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase());
    // "spell it" asks for a word that was said before
    let unclear = ["it", "that", "this", "check", "out", "them", "words", "something"].contains(&word);
    (is_word && !unclear).then(|| {
        let letters: Vec<String> = word.chars().map(|c| c.to_ascii_uppercase().to_string()).collect();
        format!("{}.", letters.join(", "))
    })
}

/// Requests that need something that is not here.
fn cannot(text: &str) -> Option<String> {
    let starts = |shapes: &[&str]| shapes.iter().any(|shape| text.starts_with(shape));
    let answer = if starts(&["set a timer", "set an alarm", "set a reminder", "remind me", "wake me", "start a timer"])
        || starts(&["set timer", "set alarm", "set the alarm", "set the timer", "set my alarm"])
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
