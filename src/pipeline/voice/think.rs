//! Words → the pieces of a reply: a local intent's at once, else the chat model's as they come.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

use super::{Inner, intents};
use crate::provider::{ChatMessage, ChatPiece, ChatRequest, ProviderError, Role};
use crate::session::{Line, SharedReport, Speaker, Turn};

/// The pieces of a reply.
pub(super) type Pieces = BoxStream<'static, Result<ChatPiece, ProviderError>>;

/// A reply that is given as it is.
pub(super) fn exactly(text: &str) -> Pieces {
    stream::iter([Ok(text.into())]).boxed()
}

impl Inner {
    pub(super) fn think(&self, turn: &Turn, words: &str, report: &SharedReport) -> Pieces {
        report.write(|report| words.clone_into(&mut report.transcript));
        if self.settings.local_intents
            && let Some(answer) = self.intent(turn, words)
        {
            report.write(|report| report.local = true);
            return exactly(&answer);
        }
        self.providers.chat.chat(ChatRequest {
            messages: self.conversation(&turn.history, words),
            max_tokens: Some(self.settings.max_tokens),
            temperature: Some(self.settings.temperature),
        })
    }

    fn intent(&self, turn: &Turn, words: &str) -> Option<String> {
        let at = i64::try_from(self.clock.wall().0).unwrap_or(0);
        let now = Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(self.zone.clone());
        let last =
            |speaker| turn.history.iter().rev().find(|line| line.speaker == speaker).map(|line| line.text.as_str());
        let facts = intents::Facts { now, last_said: last(Speaker::Person), last_reply: last(Speaker::Gateway) };
        intents::answer(words, &facts)
    }

    /// The prompt: the instructions first, so that a provider's prompt cache holds them.
    fn conversation(&self, history: &[Line], words: &str) -> Vec<ChatMessage> {
        let system = ChatMessage { role: Role::System, content: self.settings.system_prompt.clone() };
        let said = history.iter().map(|line| ChatMessage {
            role: match line.speaker {
                Speaker::Person => Role::User,
                Speaker::Gateway => Role::Assistant,
            },
            content: line.text.clone(),
        });
        let asked = ChatMessage { role: Role::User, content: words.to_owned() };
        let system = Some(system).filter(|message| !message.content.is_empty());
        system.into_iter().chain(said).chain([asked]).collect()
    }
}
