//! What can be answered without a model: in well under a millisecond, and never wrong by guesswork.
//!
//! English and Chinese. An intent matches whole shapes of questions, not single words: what is not
//! surely understood goes on to the chat model. What the gateway cannot do (timers, lights, news) is
//! said plainly here, because a small model would claim to have done it. Languages share what they can: sums, units, days and
//! places know no words.

mod chinese;
mod days;
pub(super) mod device;
mod english;
mod places;
mod sum;
#[cfg(test)]
mod tests;
mod units;

use jiff::Zoned;

/// What an intent may know.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now, in the zone of the device.
    pub now: Zoned,
    /// The language of the device, BCP 47.
    pub language: Option<&'a str>,
    /// What the person said before this.
    pub last_said: Option<&'a str>,
    /// What the gateway answered before this.
    pub last_reply: Option<&'a str>,
    /// The device has tools: what the gateway cannot do, the model may be able to.
    pub has_tools: bool,
    /// The device has instructions of its own: who answers on it, they say.
    pub has_persona: bool,
    /// For coins and dice.
    pub random: u128,
}

/// An answer that needs no model.
pub fn answer(said: &str, facts: &Facts<'_>) -> Option<String> {
    // longer than any question of a known shape
    if said.len() > 200 {
        return None;
    }
    let is_chinese = facts.language.is_some_and(|language| language.starts_with("zh"));
    if said.chars().any(chinese::is_han) || (is_chinese && !said.chars().any(char::is_alphabetic)) {
        return chinese::answer(said, facts);
    }
    english::answer(said, facts)
}
