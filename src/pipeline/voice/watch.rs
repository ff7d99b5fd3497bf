//! What the policies are asked in a turn, and how what they did gets into its report.

use super::Inner;
use crate::domain::{Policy, Profile};
use crate::policy::{Guard, Moment, Priority, Scene, Source, Verdict};
use crate::session::{SharedReport, Turn};

impl Inner {
    /// The answer to what somebody said.
    pub(super) fn answer_to(&self, turn: &Turn, question: String) -> Scene {
        let profile = self.policies.profile_of(turn.watching.profile, turn.dialect);
        Scene { source: Source::VoiceReply, profile, language: self.language(turn), question, ..Scene::default() }
    }

    /// What an operator says: looked at, and said as he wrote it.
    pub(super) fn word_for_word(&self, turn: &Turn) -> Scene {
        let profile = self.policies.profile_of(turn.watching.profile, turn.dialect).min(Profile::Audit);
        Scene { source: Source::Operator, profile, ..Scene::default() }
    }

    /// How a task ended: words of a model about what tools said, watched like an answer.
    pub(super) fn word_of_task(&self, turn: &Turn) -> Scene {
        let profile = self.policies.profile_of(turn.watching.profile, turn.dialect);
        Scene { source: Source::TaskUpdate, profile, language: self.language(turn), ..Scene::default() }
    }

    /// An operator, or a task, says something at an hour at which nobody wants to be spoken to: it is shown, and not spoken. What is
    /// grave is never untimely.
    pub(super) fn is_untimely(
        &self,
        turn: &Turn,
        text: &str,
        (source, priority): (Source, Priority),
        report: &SharedReport,
    ) -> bool {
        let level = self.policies.level_of(text);
        let language = self.language(turn);
        let moment = Moment {
            source,
            priority,
            level,
            language: language.as_deref(),
            now: self.clock.wall(),
            quiet_hours: turn.watching.quiet_hours.as_deref(),
            timezone: turn.watching.timezone.as_deref(),
            ..Moment::default()
        };
        let verdict = self.policies.interact(&moment);
        let silent = matches!(verdict, Verdict::Silent(_));
        if silent {
            turn.voice.reply(text);
            report.write(|report| {
                text.clone_into(&mut report.reply);
                report.audits.extend(verdict.audit(&moment, text));
            });
        }
        silent
    }
}

/// Notes what became of a reply so far. What a policy did is in the report as soon as it is done, so that an interrupted
/// turn has it too.
pub(super) fn note(guard: &Guard, report: &SharedReport) {
    let decision = guard.decision();
    report.write(|report| {
        report.safety = decision.note();
        if decision.stepped_in() {
            report.audits.retain(|audit| audit.policy != Policy::Safety);
            report.audits.push(decision.audit());
        }
    });
}
